"""The local target: what only a sandbox of this machine has. What every target promises: test_target_conformance.py."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from harness import PATIENCE

from envbuild.builder.sandbox.command import Mount, RootFilesystem
from envbuild.errors import NotFound, SandboxError
from envbuild.settings import Settings
from envbuild.trainer.targets import Job, Outcome, find_target
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


def test_a_follower_that_fails_leaves_no_job_behind(make: Callable[[str], Job]) -> None:
    def broken(piece: bytes) -> None:
        raise BrokenPipeError

    pids: list[int] = []
    job = make("echo ready; sleep 600")
    with pytest.raises(BrokenPipeError):
        Local(Settings(home=job.log.parent)).run(job, pids.append, broken)
    assert not Path(f"/proc/{pids[0]}").exists()


def test_a_job_that_writes_quicker_than_somebody_reads_is_killed_all_the_same(make: Callable[[str], Job]) -> None:
    flood = "for n in $(seq 1000); do head -c 1000000 /dev/zero; sleep 0.05; done"
    asked: list[int] = []

    def slow(_: bytes) -> None:
        time.sleep(0.01)
        if not asked:
            asked.append(1)
            os.kill(os.getpid(), signal.SIGTERM)

    job = replace(make(f"trap '' TERM; echo ready; {flood}"), grace=lambda: 0.3)
    assert run(job, slow) == Outcome(exit_code=137, canceled=True)
    assert job.log.stat().st_size < 500_000_000


def test_limits_hold(make: Callable[[str], Job]) -> None:
    job = make("nproc; ulimit -d; df -B1 --output=size /dev/shm | tail -1 | tr -d ' '")
    run(replace(job, cpus=1, memory=256 << 20))
    assert job.log.read_text() == f"1\n{256 << 10}\n{1 << 20}\n"


def test_what_cannot_be_started_is_an_error_with_the_reason(make: Callable[[str], Job]) -> None:
    with pytest.raises(SandboxError, match=r"could not be started in the sandbox: .*No such file"):
        run(replace(make(""), argv=["/bin/absent"]))


def test_a_thread_can_run_a_job(make: Callable[[str], Job]) -> None:
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.append(run(make("exit 4"))))
    thread.start()
    thread.join(PATIENCE)
    assert found == [Outcome(4, canceled=False)]


def test_an_unknown_target_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="known: docker, local"):
        find_target("cluster", Settings(home=tmp_path))
