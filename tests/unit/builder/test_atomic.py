"""A reader never sees half of anything, and leftovers of killed writers go."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from envbuild.builder import atomic


def test_a_failed_write_leaves_the_old_content(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    atomic.write_file(file, b"old")
    with pytest.raises(RuntimeError), atomic.new_file(file) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert file.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


def test_a_failed_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic.new_folder(tmp_path / "tree") as temporary:
        (temporary / "file").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_made_it_is_said_and_not_tried_for_ever() -> None:
    with pytest.raises(FileNotFoundError), atomic.new_folder(Path("/proc/tree")):
        pass
    with pytest.raises(FileNotFoundError), atomic.new_file(Path("/proc/file")):
        pass


def test_a_folder_that_somebody_else_finished_first_stays(tmp_path: Path) -> None:
    with atomic.new_folder(tmp_path / "tree") as temporary:
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree" / "theirs").write_text("1")
        (temporary / "ours").write_text("1")
    assert [entry.name for entry in (tmp_path / "tree").iterdir()] == ["theirs"]


def test_sweep_leaves_work_in_progress_alone(tmp_path: Path) -> None:
    with atomic.new_folder(tmp_path / "tree") as temporary:
        assert atomic.sweep(tmp_path) == 0
        assert temporary.is_dir()


def test_sweep_removes_what_a_killed_writer_left(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom envbuild.builder import atomic\n"
        f"with atomic.new_folder(Path({str(tmp_path / 'tree')!r})) as folder:\n"
        "    (folder / 'part').write_text('half')\n    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    time.sleep(0.01)
    assert atomic.sweep(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_sweep_takes_nothing_of_the_user_s_in_a_shared_folder(tmp_path: Path) -> None:
    for name in (".tmp-4711-0123abcd", ".tmp-notes", ".tmp-4711-notes"):
        (tmp_path / name).write_text("")
    assert atomic.sweep(tmp_path, shared=True) == 1
    assert {entry.name for entry in tmp_path.iterdir()} == {".tmp-notes", ".tmp-4711-notes"}


@pytest.mark.parametrize(("depth", "name"), [(200, "d" * 50), (1500, "d"), (3000, "d" * 60)])
def test_a_tree_deeper_than_a_path_or_a_recursion_reaches_is_removed(tmp_path: Path, depth: int, name: str) -> None:
    top = tmp_path / "top"
    make_deep(top, depth, name)
    atomic.remove_tree(top)
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_a_deep_tree_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("1")
    make_deep(tmp_path / "top", 1500, "d")
    (tmp_path / "top" / "d" / "link").symlink_to(tmp_path / "kept")
    atomic.remove_tree(tmp_path / "top")
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").read_text() == "1"


def make_deep(top: Path, depth: int, name: str) -> None:
    """A folder with `depth` folders in each other, and a file in the innermost one."""
    top.mkdir()
    place = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=place)
        inner = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=place))
    os.close(place)


@pytest.mark.parametrize("make", [atomic.new_file, atomic.new_folder])
def test_a_name_that_is_swept_before_it_is_locked_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    """Two builds that begin at once: one makes a name, the other sweeps before the first holds it."""
    lock, swept = fcntl.flock, []

    def interrupted(descriptor: int, how: int) -> None:
        if how == fcntl.LOCK_EX and not swept:
            swept.append(True)
            assert atomic.sweep(tmp_path) == 1
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", interrupted)
    with make(tmp_path / "made") as temporary:
        assert temporary.exists()
        (temporary / "x" if temporary.is_dir() else temporary).write_text("1")
    assert [entry.name for entry in tmp_path.iterdir()] == ["made"]


def test_who_sweeps_holds_the_name_until_it_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leftover = tmp_path / ".tmp-1"
    leftover.mkdir()
    remove, held = atomic.remove_tree, []

    def watched(folder: Path) -> None:
        held.append(not atomic.is_leftover(folder))
        remove(folder)

    monkeypatch.setattr(atomic, "remove_tree", watched)
    assert atomic.sweep(tmp_path) == 1
    assert held == [True]
