"""An environment from elsewhere is registered as it was, or refused whole."""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from envbuild.builder.image import Layer, make_image
from envbuild.builder.layers.layer import write_layer
from envbuild.builder.lock import Lock, LockedPackage, write_locks
from envbuild.builder.report import Silent
from envbuild.builder.store import Store
from envbuild.errors import LayerError
from envbuild.registry.environments import image_record, load
from envbuild.registry.restore import Restoration, restore
from envbuild.settings import Settings

PACKAGE = LockedPackage("conda", "six", "1.17.0", "https://example.test/ch/noarch/six-1.17.0-py_0.conda", "a" * 64)


class Travelling:
    """An environment of two layers on its way: its config, its files, and its layers as tars."""

    def __init__(self, folder: Path, content: str) -> None:
        self.tars: dict[str, bytes] = {}
        self.opened: list[str] = []
        layers = [self._layer(folder / "base", "base"), self._layer(folder / content, content)]
        image = make_image(layers, "linux-64", 0, {}, {"dev.envbuild.content": content})
        ingredients: dict[str, Any] = {"packages": {"conda:six": "a" * 64}, "content": content}
        text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"))
        self.config = image.config
        self.record = {
            "name": "small",
            "version": 3,
            "environment_id": f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
            "ingredients": ingredients,
            "spec_key": "sha256:0",
            "lock_digest": "sha256:1",
            "platform": "linux-64",
            "packages": 1,
            "registered": "2026-01-01T00:00:00Z",
            "base": {"name": "debian12-minimal", "version": 1, "diff_id": "sha256:0"},
            "image": image_record(image),
        }
        write_locks((Lock("linux-64", (), (PACKAGE,)),), folder / "lock.yml")
        self.lock = (folder / "lock.yml").read_bytes()

    def _layer(self, tree: Path, content: str) -> Layer:
        tree.mkdir(parents=True, exist_ok=True)
        (tree / content).write_text(content)
        os.utime(tree / content, (0, 0))  # equal content is an equal layer, whenever it is written
        data = io.BytesIO()
        write_layer(tree, data.write)
        diff_id = f"sha256:{hashlib.sha256(data.getvalue()).hexdigest()}"
        self.tars[diff_id] = data.getvalue()
        return Layer(diff_id, len(data.getvalue()), "../../elsewhere", content, ("six",))

    @contextmanager
    def open(self, diff_id: str) -> Iterator[io.BytesIO]:
        self.opened.append(diff_id)
        yield io.BytesIO(self.tars[diff_id])

    def arrive(self, home: Path, **changes: Any) -> Restoration:
        files = {
            "environment.json": json.dumps({**self.record, **changes}).encode(),
            "conda-lock.yml": self.lock,
            "spec.yml": b"name: small\n",
            "../../../escape": b"hostile",
        }
        return restore([self.config], files, self.open, Settings(home=home), Silent())


@pytest.fixture
def sent(tmp_path: Path) -> Travelling:
    return Travelling(tmp_path / "elsewhere", "one")


def test_it_keeps_its_name_version_files_and_image(sent: Travelling, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = sent.arrive(home)
    assert (done.status, done.unpacked, done.environment.reference) == ("restored", 2, "small:3")
    kept = load(home, "small:3")
    assert kept.image(Store(home)).digest == sent.record["image"]["digest"]
    assert [tree.parent for tree in kept.root(Store(home)).trees] == [home / "trees"] * 2
    assert sorted(file.name for file in kept.folder.iterdir()) == ["conda-lock.yml", "environment.json", "spec.yml"]
    assert kept.lock_file.read_bytes() == sent.lock


def test_a_second_time_nothing_is_opened_and_nothing_changes(sent: Travelling, tmp_path: Path) -> None:
    sent.arrive(tmp_path / "home")
    sent.opened.clear()
    done = sent.arrive(tmp_path / "home")
    assert (done.status, done.unpacked, done.environment.reference, sent.opened) == ("there", 0, "small:3", [])


def test_only_layers_that_are_missing_are_opened(sent: Travelling, tmp_path: Path) -> None:
    sent.arrive(tmp_path / "home")
    other = Travelling(tmp_path / "elsewhere", "two")
    done = other.arrive(tmp_path / "home", version=4)
    assert (done.environment.reference, len(other.opened)) == ("small:4", 1)


def test_a_version_that_is_taken_by_another_environment_stays(sent: Travelling, tmp_path: Path) -> None:
    sent.arrive(tmp_path / "home")
    assert Travelling(tmp_path / "elsewhere", "two").arrive(tmp_path / "home").environment.reference == "small:4"
    assert load(tmp_path / "home", "small:3").record["environment_id"] == sent.record["environment_id"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": None}, "cannot be read"),
        ({"version": 0}, "cannot be read"),
        ({"environment_id": "sha256:0"}, "does not follow from its ingredients"),
        ({"image": {"digest": "sha256:0", "layers": []}}, "lists other layers"),
        ({"image": {"digest": "sha256:0"}}, "cannot be read"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(
    sent: Travelling, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(LayerError, match=reason):
        sent.arrive(tmp_path / "home", **changes)
    assert not (tmp_path / "home").exists()


def test_another_image_than_the_record_names_is_refused(sent: Travelling, tmp_path: Path) -> None:
    with pytest.raises(LayerError, match="another image"):
        sent.arrive(tmp_path / "home", image={**sent.record["image"], "digest": "sha256:0"})


def test_another_lock_is_refused(sent: Travelling, tmp_path: Path) -> None:
    sent.lock = sent.lock.replace(b"a" * 64, b"b" * 64)
    with pytest.raises(LayerError, match="other packages"):
        sent.arrive(tmp_path / "home")


def test_a_damaged_layer_registers_nothing_and_a_second_try_finishes(sent: Travelling, tmp_path: Path) -> None:
    top = sent.record["image"]["layers"][1]["diff_id"]
    whole = sent.tars[top]
    sent.tars[top] = whole[:600]
    with pytest.raises(LayerError, match="damaged|promised"):
        sent.arrive(tmp_path / "home")
    assert not (tmp_path / "home/environments").exists()
    sent.tars[top] = whole
    sent.opened.clear()
    assert (sent.arrive(tmp_path / "home").status, sent.opened) == ("restored", [top])
