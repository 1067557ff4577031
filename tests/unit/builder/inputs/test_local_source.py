"""The digest of a package's folder depends on what it holds, and on nothing else of this machine."""

import os
from pathlib import Path

import pytest

from envbuild.builder.inputs.local_source import content_digest, source_files
from envbuild.errors import SpecError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "setup.py").write_text("")
    return tmp_path


def test_what_is_executable_is_what_git_would_say(folder: Path) -> None:
    plain = content_digest(folder)
    (folder / "setup.py").chmod(0o654)  # executable for a group; root could execute it
    assert content_digest(folder) == plain
    (folder / "setup.py").chmod(0o744)
    assert content_digest(folder) != plain


def test_pipes_and_sockets_are_passed_over(folder: Path) -> None:
    plain = content_digest(folder)
    os.mkfifo(folder / "pipe")
    assert content_digest(folder) == plain
    assert list(source_files(folder)) == [folder / "setup.py"]


def test_the_name_of_a_file_may_be_any_bytes(folder: Path) -> None:
    plain = content_digest(folder)
    (folder / os.fsdecode(b"na\xefve.txt")).write_text("1")
    assert content_digest(folder) != plain


def test_what_cannot_be_read_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "loop").mkdir()

    def refuse(path: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)  # root, who may run the tests, is refused nothing
    with pytest.raises(SpecError, match="cannot be read: Permission denied"):
        content_digest(folder)
