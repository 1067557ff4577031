"""A job may leave links and pipes among its files: nothing outside of its folder is ever opened."""

import os
from pathlib import Path

import pytest

from envbuild.builder import atomic
from envbuild.trainer.run_files import files_inside, open_inside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    run = tmp_path / "run"
    (run / "outputs/deep").mkdir(parents=True)
    (run / "outputs/deep/result.txt").write_text("done")
    (run / "outputs/link").symlink_to(tmp_path / "secret")
    (run / "outputs/up").symlink_to(tmp_path)
    os.mkfifo(run / "outputs/pipe")
    return run


def test_a_file_is_opened(folder: Path) -> None:
    file = open_inside(folder, "outputs/deep/result.txt")
    assert file is not None
    with file:
        assert file.read() == b"done"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../secret", "outputs/../../secret", "/etc/passwd", "outputs//deep", "outputs/link",
     "outputs/up/secret", "outputs/pipe", "outputs/deep", "outputs/absent", "outputs/\0"],
)  # fmt: skip
def test_anything_else_is_not(folder: Path, name: str) -> None:
    assert open_inside(folder, name) is None


def test_an_absent_folder_has_no_files(tmp_path: Path) -> None:
    assert open_inside(tmp_path / "absent", "file") is None
    assert list(files_inside(tmp_path / "absent")) == []


def test_only_regular_files_are_listed(folder: Path) -> None:
    assert list(files_inside(folder, "outputs")) == ["outputs/deep/result.txt"]


def test_a_folder_s_own_files_come_before_those_of_its_folders(folder: Path) -> None:
    for name in ("outputs/z.txt", "outputs/deep/a.txt", "outputs/a.txt"):
        (folder / name).write_text("1")
    expected = ["outputs/a.txt", "outputs/z.txt", "outputs/deep/a.txt", "outputs/deep/result.txt"]
    assert list(files_inside(folder, "outputs")) == expected


def test_folders_in_each_other_without_end_are_listed_in_time_and_without_an_error(tmp_path: Path) -> None:
    """A job that calls itself in a new folder; 1500 of them are more than Python can recurse into."""
    (tmp_path / "top").mkdir()
    place = os.open(tmp_path / "top", os.O_RDONLY)
    for number in range(1500):
        if number == 3:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=place))
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    assert list(files_inside(tmp_path, "top")) == ["top/d/d/d/file"]
    atomic.remove_tree(tmp_path / "top")  # pytest could not
