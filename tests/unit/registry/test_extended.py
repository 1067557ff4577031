"""An extension begins with the request in the record, whoever has written that."""

from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import InputError
from envbuild.registry.environments import add_version
from envbuild.registry.extended import extended_request
from envbuild.settings import Settings

SAID: dict[str, Any] = {
    "channels": ["main"],
    "dependencies": ["jinja2 ==3.1.5 pyh_0", "pip", "python 3.11.*"],
    "pip": ["--pre", "six"],
    "variables": {"MODE": "fast"},
    "constraints": ["six<2"],
    "virtual_packages": {"__cuda": "12.4"},
    "loosen": ["builds"],
}


def registered(home: Path, said: Any) -> Settings:
    digest = f"sha256:{'a' * 64}"
    record = {
        "environment_id": digest, "spec_key": digest, "lock_digest": digest, "platform": "linux-aarch64", "packages": 0,
        "registered": "2026-11-24", "image": {"digest": digest, "config_digest": digest, "layers": []},
        "base": {"name": "debian12-minimal", "version": 1, "diff_id": digest}, "spec_ingredients": said,
    }  # fmt: skip
    add_version(home, "small", record, {})
    return Settings(home=home)


def test_it_is_the_same_request_and_what_is_added(tmp_path: Path) -> None:
    request = extended_request("small", ["zlib", "pip:idna"], registered(tmp_path, SAID))
    said = {name: value for name, value in request.ingredients.items() if name != "steering"}
    assert said == {**SAID, "dependencies": [*SAID["dependencies"], "zlib"], "pip": ["--pre", "idna", "six"]}
    assert (request.platforms, request.base) == (("linux-aarch64",), "debian12-minimal")


def test_without_python_it_stays_so(tmp_path: Path) -> None:
    said = {**SAID, "dependencies": ["zlib"], "pip": []}
    request = extended_request("small", ["bzip2"], registered(tmp_path, said))
    assert request.ingredients["dependencies"] == ["bzip2", "zlib"]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"locks": {}}, "small:1 came from a lock"),
        (None, "small:1 came from a lock"),
        ({**SAID, "pip": ["./mine"]}, r"takes \./mine from beside its file"),
        ({**SAID, "pip": ["--find-links ./wheels"]}, "takes --find-links ./wheels from beside its file"),
        ({**SAID, "dependencies": [7]}, "cannot be read from its record"),
        ({**SAID, "dependencies": ["=>"]}, "cannot be read from its record"),
        ({**SAID, "variables": ["MODE"]}, "cannot be read from its record"),
        ({**SAID, "pip": [None]}, "cannot be read from its record"),
        ({**SAID, "loosen": ["all"]}, "--loosen all is unknown"),
    ],
)
def test_what_cannot_be_extended_is_a_sentence(tmp_path: Path, said: Any, sentence: str) -> None:
    settings = registered(tmp_path, said)
    with pytest.raises(InputError, match=sentence):
        extended_request("small", ["zlib"], settings)
