"""Layers from elsewhere beside what is here already."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from envbuild.builder.layers.layer import write_layer
from envbuild.builder.layers.trees import add_tree
from envbuild.errors import LayerError


def layer_of(folder: Path, text: str) -> bytes:
    folder.mkdir()
    (folder / "file").write_text(text)
    data = io.BytesIO()
    write_layer(folder, data.write)
    return data.getvalue()


def add(home: Path, diff_id: str, data: bytes) -> str:
    @contextmanager
    def opened(_: str) -> Iterator[io.BytesIO]:
        yield io.BytesIO(data)

    return add_tree(home, diff_id, len(data), opened)


def test_a_layer_cannot_pass_for_a_piece_nor_for_another_layer(tmp_path: Path) -> None:
    data = layer_of(tmp_path / "one", "one")
    digest = hashlib.sha256(data).hexdigest()
    name = add(tmp_path / "home", f"sha256:{digest}", data)
    assert name == f"r{digest[:15]}"  # pieces have hexadecimal names
    with pytest.raises(LayerError, match="begins like that of another layer that is here; refused"):
        add(tmp_path / "home", f"sha256:{digest[:20]}{'0' * 44}", data)
    assert (tmp_path / "home/trees" / name / "file").read_text() == "one"


def test_a_layer_that_is_not_its_digest_leaves_nothing(tmp_path: Path) -> None:
    data = layer_of(tmp_path / "one", "one")
    with pytest.raises(LayerError):
        add(tmp_path / "home", f"sha256:{'ab' * 32}", data)
    assert [entry.name for entry in (tmp_path / "home/trees").iterdir() if entry.name != ".locks"] == []
