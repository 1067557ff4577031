"""What a snapshot of a source folder holds, and what it refuses."""

import os
from pathlib import Path

import pytest

from envbuild.builder.report import Silent
from envbuild.errors import SnapshotError
from envbuild.settings import SnapshotLimits
from envbuild.trainer.snapshot import Snapshot, materialise, take_snapshot

LIMITS = SnapshotLimits(max_size=1000, max_files=5)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    (folder / "sub").mkdir(parents=True)
    (folder / "train.py").write_text("print(1)\n")
    (folder / "sub/tool.sh").write_text("#!/bin/sh\n")
    (folder / "sub/tool.sh").chmod(0o755)
    return folder


def take(source: Path) -> Snapshot:
    return take_snapshot(source, source.parent / "home", LIMITS, Silent())


def test_the_id_is_that_of_the_content(source: Path) -> None:
    first = take(source)
    os.utime(source / "train.py", (1, 1))
    assert take(source) == first
    assert [(file.path, oct(file.mode)) for file in first.files] == [("sub/tool.sh", "0o755"), ("train.py", "0o644")]


def test_it_comes_back_as_it_was(source: Path, tmp_path: Path) -> None:
    materialise(take(source), tmp_path / "home", tmp_path / "copy")
    assert (tmp_path / "copy/train.py").read_text() == "print(1)\n"
    assert os.access(tmp_path / "copy/sub/tool.sh", os.X_OK)


def test_amlignore_replaces_gitignore(source: Path) -> None:
    (source / ".gitignore").write_text("train.py\n")
    (source / ".amlignore").write_text("sub/\n.amlignore\n.gitignore\n")
    assert [file.path for file in take(source).files] == ["train.py"]


def test_git_and_caches_never_enter(source: Path) -> None:
    for name in (".git", "__pycache__"):
        (source / name).mkdir()
        (source / name / "x").write_text("1")
    assert [file.path for file in take(source).files] == ["sub/tool.sh", "train.py"]


def test_too_many_bytes_or_files_name_the_largest_entries(source: Path) -> None:
    (source / "data").mkdir()
    (source / "data/a.bin").write_bytes(bytes(2000))
    with pytest.raises(SnapshotError, match="Your total snapshot size exceeds the limit") as caught:
        take(source)
    assert "1 files  data/" in str(caught.value)
    assert "echo '/data/' >>" in str(caught.value)
    assert not (source.parent / "home").exists()


def test_too_many_files_name_the_entry_with_the_most_files(source: Path) -> None:
    (source / "frames").mkdir()
    for number in range(9):
        (source / f"frames/{number}").touch()
    with pytest.raises(SnapshotError, match="Your total snapshot size exceeds the limit") as caught:
        take(source)
    assert str(caught.value).endswith(f"echo '/frames/' >> {source}/.envbuildignore")


@pytest.mark.parametrize("name", [".amlignore", ".gitignore"])
def test_what_to_ignore_goes_into_the_ignore_file_that_counts(source: Path, name: str) -> None:
    (source / name).write_text("*.log\n")
    (source / "data.bin").write_bytes(bytes(2000))
    with pytest.raises(SnapshotError) as caught:
        take(source)
    assert str(caught.value).endswith(f"echo '/data.bin' >> {source}/{name}")


def test_a_link_that_leaves_the_folder_is_refused(source: Path) -> None:
    (source / "secrets").symlink_to("/etc/passwd")
    with pytest.raises(SnapshotError, match="is a link that leaves"):
        take(source)


def test_a_pipe_is_refused(source: Path) -> None:
    os.mkfifo(source / "pipe")
    with pytest.raises(SnapshotError, match="no plain file"):
        take(source)
