"""What a source says that its build needs is somebody else's word: it becomes wheels, and never options of uv."""

import io
import tarfile
from pathlib import Path

import pytest

from envbuild.builder.pip.build_requirements import lock_requirements
from envbuild.builder.pip.uv import Target
from envbuild.errors import SolveError
from envbuild.settings import PipSettings, Settings

TARGET = Target("3.11.2", "linux-64", {"__glibc": "2.28"})


def index_with_a_trap(folder: Path) -> Settings:
    """A folder of source distributions with one that writes `ran` when anything builds it."""
    backend = f"open({str(folder / 'ran')!r}, 'w')\nraise SystemExit('built')\n"
    files = {
        "PKG-INFO": "Metadata-Version: 2.1\nName: trap\nVersion: 1.0\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": backend,
    }
    links = folder / "links"
    links.mkdir()
    with tarfile.open(links / "trap-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"trap-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return Settings(home=folder / "home", pip=PipSettings(index=links.as_uri(), find_links=(links.as_uri(),)))


@pytest.mark.parametrize("requires", [["--no-binary trap", "trap"], ["trap\n--no-binary trap"], ["-r /etc/hostname"]])
def test_an_option_among_the_requirements_is_refused(tmp_path: Path, requires: list[str]) -> None:
    settings = index_with_a_trap(tmp_path)
    with pytest.raises(SolveError, match="is no requirement"):
        lock_requirements(requires, TARGET, settings)
    assert not (tmp_path / "ran").exists()


def test_a_requirement_without_a_wheel_is_not_built_here(tmp_path: Path) -> None:
    settings = index_with_a_trap(tmp_path)
    with pytest.raises(SolveError, match="cannot be had as wheels"):
        lock_requirements(["trap"], TARGET, settings)
    assert not (tmp_path / "ran").exists()
