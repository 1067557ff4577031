"""The local target: signals, exit codes, limits and logs of real jobs in a real sandbox."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.builder import sandbox
from envbuild.builder.sandbox import Bubblewrap, Mount, RootFilesystem
from envbuild.errors import NotFound, SandboxError
from envbuild.settings import Settings
from envbuild.trainer.targets import Job, Outcome, find_target, local
from envbuild.trainer.targets.local import Local


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Job]:
    """Makes jobs that run a shell script in a small root with this machine's /usr."""
    tree = tmp_path / "tree"
    for name in ("usr", "etc"):
        (tree / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (tree / name).symlink_to(f"usr/{name}")
    (tmp_path / "log").touch()

    def job(script: str) -> Job:
        return Job(
            argv=["/bin/sh", "-c", script],
            root=RootFilesystem((tree,)),
            mounts=[Mount(Path("/usr"), "/usr")],
            env={"PATH": "/usr/bin"},
            cwd="/",
            log=tmp_path / "log",
            network=False,
            cpus=None,
            memory=None,
            shm_size=1 << 20,
        )

    return job


def run(job: Job, follow: Callable[[bytes], None] | None = None) -> Outcome:
    return Local(Settings(home=job.log.parent)).run(job, lambda pid: None, follow)


def on_ready(action: Callable[[], None]) -> Callable[[bytes], None]:
    return lambda piece: action() if b"ready" in piece else None


def interrupt(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_exit_codes_are_exact(make: Callable[[str], Job], code: int) -> None:
    assert run(make(f"exit {code}")) == Outcome(code, canceled=False)


def test_a_job_killed_by_a_signal_says_which(make: Callable[[str], Job]) -> None:
    assert run(make("kill -9 $$")) == Outcome(128 + 9, canceled=False)


def test_the_log_holds_both_streams_in_order_and_is_followed_whole(make: Callable[[str], Job]) -> None:
    pieces: list[bytes] = []
    job = make("printf 'one\\000'; printf 'two\\r' >&2; printf '\\377three'")
    run(job, pieces.append)
    assert job.log.read_bytes() == b"".join(pieces) == b"one\0two\r\xffthree"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_reach_the_command_which_may_end_well(make: Callable[[str], Job], number: int) -> None:
    job = make("trap 'echo stopped; exit 3' INT TERM HUP; echo ready; while :; do sleep 0.05; done")
    assert run(job, on_ready(interrupt(number))) == Outcome(3, canceled=True)
    assert job.log.read_text() == "ready\nstopped\n"


def test_a_job_that_ignores_signals_is_killed_after_the_grace_period(
    make: Callable[[str], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "GRACE", 0.3)
    begin = time.monotonic()
    job = make("trap '' INT TERM; echo ready; while :; do sleep 0.05; done")
    assert run(job, on_ready(interrupt(signal.SIGTERM))) == Outcome(137, canceled=True)
    assert 0.3 < time.monotonic() - begin < 5


def test_a_follower_that_fails_leaves_no_job_behind(make: Callable[[str], Job]) -> None:
    def broken(piece: bytes) -> None:
        raise BrokenPipeError

    pids: list[int] = []
    job = make("echo ready; sleep 60")
    with pytest.raises(BrokenPipeError):
        Local(Settings(home=job.log.parent)).run(job, pids.append, broken)
    assert not Path(f"/proc/{pids[0]}").exists()


def test_children_that_outlive_the_command_go_with_it(make: Callable[[str], Job]) -> None:
    job = make("(while :; do echo orphan; sleep 0.05; done) & exit 0")
    assert run(job).exit_code == 0
    size = job.log.stat().st_size
    time.sleep(0.3)
    assert job.log.stat().st_size == size


def test_limits_hold(make: Callable[[str], Job]) -> None:
    job = make("nproc; ulimit -d; df -B1 --output=size /dev/shm | tail -1 | tr -d ' '")
    run(replace(job, cpus=1, memory=256 << 20))
    assert job.log.read_text() == f"1\n{256 << 10}\n{1 << 20}\n"


def test_what_cannot_be_started_is_an_error_with_the_reason(make: Callable[[str], Job]) -> None:
    with pytest.raises(SandboxError, match=r"could not be started in the sandbox: .*No such file"):
        run(replace(make(""), argv=["/bin/absent"]))


def test_an_old_bubblewrap_runs_the_merged_folder(make: Callable[[str], Job], monkeypatch: pytest.MonkeyPatch) -> None:
    job = make("echo ran")
    found = sandbox.find_bubblewrap(Settings(home=job.log.parent))
    monkeypatch.setattr(local, "find_bubblewrap", lambda _: Bubblewrap(found.path, (0, 8, 0), overlay=False))
    assert run(job) == Outcome(0, canceled=False)
    assert job.log.read_text() == "ran\n"


def test_a_thread_can_run_a_job(make: Callable[[str], Job]) -> None:
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.append(run(make("exit 4"))))
    thread.start()
    thread.join(30)
    assert found == [Outcome(4, canceled=False)]


def test_an_unknown_target_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="known: local"):
        find_target("cluster", Settings(home=tmp_path))
