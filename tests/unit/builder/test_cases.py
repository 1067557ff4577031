"""Every folder of tests/cases: an environment file as people write it, and what it must become."""

import sys
from pathlib import Path
from typing import Any

import pytest

from envbuild.builder.inputs.spec_file import read_spec
from envbuild.errors import SpecError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CASES = sorted(folder for folder in (Path(__file__).parents[2] / "cases").iterdir() if folder.is_dir())


def described(file: Path) -> dict[str, Any]:
    """The request in the words of `expected.toml`; what is empty is left out."""
    spec = read_spec(file)
    found: dict[str, Any] = {
        "name": spec.name,
        "channels": list(spec.channels),
        "dependencies": [dependency.text for dependency in spec.dependencies],
        "pip": list(spec.pip),
        "constraints": list(spec.constraints),
        "variables": dict(spec.variables),
        "virtual_packages": dict(spec.virtual_packages),
        "notes": list(spec.notes),
    }
    return {key: value for key, value in found.items() if value}


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_case(folder: Path) -> None:
    expected = tomllib.loads((folder / "expected.toml").read_text(encoding="utf-8"))
    (file,) = (each for each in (folder / "environment.yml", folder / "requirements.txt") if each.exists())
    if "error" in expected:
        with pytest.raises(SpecError) as raised:
            read_spec(file)
        assert expected["error"] in str(raised.value)
        assert "\n" not in str(raised.value)
    else:
        shown = described(file)
        if file.name == "requirements.txt":  # its notes are about what it cannot say
            shown.pop("notes")
        assert shown == expected
