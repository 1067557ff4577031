"""Whether a supervisor lives: its lock proves life everywhere, and death where the kernel is the same."""

import errno
import fcntl
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from envbuild.errors import InputError
from envbuild.trainer import supervision
from envbuild.trainer.cancel import request_cancel
from envbuild.trainer.run import RunRecord, create_run, give_up, load_run, update_run
from envbuild.trainer.supervision import LOCK_NAME, held_lock, process_of, release_lock

ELSEWHERE = {**process_of(os.getpid()), "pid_namespace": 1}
"""A process of this machine whose pid means another one here."""
TWIN = {**process_of(os.getpid()), "boot_id": "another"}
"""A process of another machine, with the pid and the start of one of ours."""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunRecord]:
    """A run that this process supervises."""
    made = create_run(tmp_path, "digits", {}, supervised=True)
    yield made
    release_lock(made.run_id)


@contextmanager
def supervisor(home: Path, script: str, **options: object) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs `script` with `home` defined, and says when it is ready."""
    line = [sys.executable, "-c", f"import pathlib\nhome = pathlib.Path({str(home)!r})\n{script}"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, **options) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def state(home: Path) -> str:
    return load_run(home, "last").state


def test_who_makes_a_run_answers_for_it_from_its_first_record_on(tmp_path: Path, run: RunRecord) -> None:
    assert run.document["process"] == process_of(os.getpid())
    assert (run.document["host"], state(tmp_path)) == (platform.node(), "Queued")
    assert not os.get_inheritable(held_lock(run.run_id) or 0)


def test_a_held_lock_keeps_a_run_alive_whose_pid_means_nothing_here(tmp_path: Path, run: RunRecord) -> None:
    update_run(run, process={**ELSEWHERE, "pid": 2**22 + 1})
    assert state(tmp_path) == "Queued"
    release_lock(run.run_id)
    assert state(tmp_path) == "Lost"


def test_a_run_of_another_container_is_canceled_there_and_not_given_up(run: RunRecord) -> None:
    there = update_run(run, process=ELSEWHERE, host="box")
    with pytest.raises(InputError, match=r"in another container of this machine \(box\); cancel it there$"):
        request_cancel(there)
    with pytest.raises(InputError, match="its process lives: cancel it there"):
        give_up(there)


def test_a_killed_supervisor_of_this_machine_is_gone_whatever_its_host_was_called(tmp_path: Path) -> None:
    script = (
        "from envbuild.trainer.run import create_run, update_run\nimport time\n"
        "update_run(create_run(home, 'digits', {}, supervised=True), host='box')\nprint('ready', flush=True)\n"
        "time.sleep(600)"
    )
    with supervisor(tmp_path, script) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        assert state(tmp_path) == "Queued"
        process.kill()
        process.wait()
        assert state(tmp_path) == "Lost"


def test_a_free_lock_says_nothing_of_another_machine(tmp_path: Path, run: RunRecord) -> None:
    """Its file system may keep locks to each machine."""
    update_run(run, process=TWIN, host="elsewhere")
    release_lock(run.run_id)
    assert state(tmp_path) == "Queued"
    update_run(run, host=platform.node())  # this machine, before it was started again
    assert state(tmp_path) == "Lost"


def test_a_held_lock_keeps_a_run_alive_on_another_machine_of_our_name(tmp_path: Path, run: RunRecord) -> None:
    update_run(run, process=TWIN)
    assert state(tmp_path) == "Queued"
    told = f"on another machine or in another container that is called {platform.node()}, too; cancel it there, or"
    with pytest.raises(InputError, match=told):
        request_cancel(load_run(tmp_path, "last"))
    assert give_up(load_run(tmp_path, "last")).state == "Lost"


def test_without_locks_the_process_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    flags = {name: getattr(fcntl, name) for name in ("LOCK_EX", "LOCK_SH", "LOCK_NB")}
    monkeypatch.setattr(supervision, "fcntl", SimpleNamespace(flock=none, **flags))
    made = create_run(tmp_path, "digits", {}, supervised=True)
    assert (held_lock(made.run_id), (made.folder / LOCK_NAME).exists()) == (None, False)
    assert state(tmp_path) == "Queued"
    update_run(made, process={**process_of(os.getpid()), "start": "1"})
    assert state(tmp_path) == "Lost"


def test_a_forked_child_does_not_keep_the_run_of_its_parent(tmp_path: Path) -> None:
    script = (
        "from envbuild.trainer.run import create_run\nimport os, time\n"
        "create_run(home, 'digits', {}, supervised=True)\n"
        "child = os.fork()\nif child:\n    print(child, flush=True)\ntime.sleep(60)"
    )
    with supervisor(tmp_path, script) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            process.kill()
            process.wait()
            assert supervision.process_start(child) is not None
            # the child closes what it has got as soon as it runs at all
            while state(tmp_path) != "Lost":
                assert supervision.process_start(child) is not None
                time.sleep(0.05)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_lock_is_passed_on_to_a_process_and_by_that_to_nobody(tmp_path: Path, run: RunRecord) -> None:
    lock = held_lock(run.run_id)
    assert lock is not None
    script = (
        "from envbuild.trainer.supervision import adopt_lock\nimport subprocess, sys, time\n"
        f"adopt_lock(pathlib.Path({str(run.folder)!r}), {run.run_id!r}, {lock})\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], close_fds=False)\n"
        "print(child.pid, flush=True)\ntime.sleep(600)"
    )
    with supervisor(tmp_path, script, pass_fds=[lock]) as process:
        assert process.stdout is not None
        release_lock(run.run_id)
        child = int(process.stdout.readline())
        try:
            update_run(run, process=ELSEWHERE)
            assert state(tmp_path) == "Queued"
            process.kill()
            process.wait()
            assert (state(tmp_path), supervision.process_start(child) is not None) == ("Lost", True)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_descriptor_that_is_not_the_lock_is_not_adopted(tmp_path: Path, run: RunRecord) -> None:
    release_lock(run.run_id)
    with open(os.devnull) as other:
        supervision.adopt_lock(run.folder, run.run_id, other.fileno())
    assert held_lock(run.run_id) is None
