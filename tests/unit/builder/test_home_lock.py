"""Builds share a home, gc has it alone, and whoever is killed leaves it free."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from envbuild.builder.home_lock import alone, holding, is_held, sharing
from envbuild.builder.report import Silent
from envbuild.errors import InputError, StoreError

Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Start]:
    """Starts a process that takes a lock of the home and keeps it."""
    processes = []

    def start(lock: str) -> "subprocess.Popen[bytes]":
        code = (
            "import time\nfrom pathlib import Path\nfrom envbuild.builder.report import Silent\n"
            f"from envbuild.builder.home_lock import alone, holding, sharing\nhome = Path({str(tmp_path)!r})\n"
            f"with {lock}:\n    print('ready', flush=True)\n    time.sleep(60)\n"
        )
        line = [sys.executable, "-c", code, "envbuild", "register", "small.yml"]
        process = subprocess.Popen(line, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def enter(context: AbstractContextManager[None]) -> bool:
    with context:
        return True


@pytest.mark.parametrize("lock", [lambda home: sharing(home, Silent()), alone])
def test_what_can_be_no_home_is_a_sentence(
    tmp_path: Path, lock: Callable[[Path], AbstractContextManager[None]]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file cannot be the home of envbuild: it is no folder; set ENVBUILD_HOME"):
        lock(tmp_path / "file").__enter__()
    with pytest.raises(InputError, match="file/home cannot be the home of envbuild: Not a directory"):
        lock(tmp_path / "file/home").__enter__()


def test_builds_share_the_home(tmp_path: Path, other: Start) -> None:
    other("sharing(home, Silent())")
    assert enter(sharing(tmp_path, Silent()))


def test_gc_says_who_uses_the_home(tmp_path: Path, other: Start) -> None:
    process = other("sharing(home, Silent())")
    with pytest.raises(StoreError, match=rf"in use by envbuild register small.yml \(process {process.pid}\)"):
        enter(alone(tmp_path))


def test_a_holder_that_ended_between_the_try_and_the_look_stands_in_nobody_s_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = sharing(tmp_path, Silent())
    holder.__enter__()

    def ends(home: Path) -> str:
        holder.__exit__(None, None, None)
        return ""

    monkeypatch.setattr("envbuild.builder.home_lock._holders", ends)
    assert enter(alone(tmp_path))


def test_a_holder_whom_this_machine_does_not_show_keeps_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envbuild.builder.home_lock._holders", lambda home: "")
    with sharing(tmp_path, Silent()), pytest.raises(StoreError, match="is in use by another process"):
        enter(alone(tmp_path))


def test_a_killed_build_leaves_the_home_free(tmp_path: Path, other: Start) -> None:
    process = other("sharing(home, Silent())")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert enter(alone(tmp_path))


def test_a_build_waits_for_gc_and_says_so(tmp_path: Path, other: Start) -> None:
    gc = other("alone(home)")

    class EndsGc(Silent):
        said = ""

        def say(self, text: str) -> None:
            self.said = text
            os.kill(gc.pid, signal.SIGKILL)

    reporter = EndsGc()
    assert enter(sharing(tmp_path, reporter))
    assert reporter.said == f"waiting for envbuild register small.yml (process {gc.pid}) to end"


def test_a_held_folder_is_held_until_its_process_ends(tmp_path: Path, other: Start) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    assert not is_held(tree)
    process = other("holding([home / 'tree', home / 'missing'])")
    assert is_held(tree)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not is_held(tree)


def test_many_may_hold_one_folder(tmp_path: Path, other: Start) -> None:
    (tmp_path / "tree").mkdir()
    other("holding([home / 'tree'])")
    with holding([tmp_path / "tree"]):
        assert is_held(tmp_path / "tree")
    assert is_held(tmp_path / "tree")


def test_a_holder_does_not_keep_gc_out(tmp_path: Path, other: Start) -> None:
    (tmp_path / "tree").mkdir()
    other("holding([home / 'tree'])")
    assert enter(alone(tmp_path))
