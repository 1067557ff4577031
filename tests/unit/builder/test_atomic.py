"""A reader never sees half of anything, and leftovers of killed writers go."""

import os
import signal
import subprocess
import sys
import time
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
