"""The local target: the job in a bubblewrap sandbox on this machine, with neither daemon nor root.

The job writes its log itself, through descriptors of the log file, so nothing is lost or reordered when we die.
Signals go to the training command (the child of the sandbox's first process), because bubblewrap forwards none; after
a grace period everything in the sandbox is killed, and when we are killed, its guard ends it.
"""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from envbuild.builder.report import Reporter
from envbuild.builder.sandbox.bubblewrap import find_bubblewrap
from envbuild.builder.sandbox.command import command, fits_overlay
from envbuild.builder.sandbox.merge import merged_folder
from envbuild.builder.sandbox.process import start
from envbuild.errors import SandboxError
from envbuild.settings import Settings

from . import Job, Outcome, Session
from .gpus import FOLDERS, find_gpus, sandbox_mounts
from .sandbox_status import SandboxStatus
from .signals import cancel_signals

_POLL = 0.05
"""Seconds between two looks at the log."""
_LAST = 1 << 12
"""Bytes at the end of a log in which its last line is looked for."""


class Local:
    """Runs jobs on this machine."""

    def __init__(self, settings: Settings, specifications: Sequence[Path] = FOLDERS) -> None:
        self._settings = settings
        self._specifications = specifications

    def check(self, gpus: str) -> None:
        find_gpus(gpus, self._specifications)

    def interact(self, session: Session, reporter: Reporter) -> int:
        from .interactive import run_interactively

        return run_interactively(session, find_gpus(session.gpus, self._specifications), self._settings)

    def run(self, job: Job, started: Callable[[int], None], follow: Callable[[bytes], None] | None) -> Outcome:
        gpus = find_gpus(job.gpus, self._specifications)
        bwrap = find_bubblewrap(self._settings)
        merged = None
        if not fits_overlay(bwrap, job.root):
            merged = merged_folder(job.root, self._settings.home / "scratch")
        line = command(
            bwrap, job.root, env=gpus.env(job.env), mounts=[*job.mounts, *sandbox_mounts(gpus)], cwd=job.cwd,
            network=job.network, merged=merged, shm_size=job.shm_size,
        )  # fmt: skip
        with job.log.open("ab", buffering=0) as log, SandboxStatus() as status:
            process = start(
                # a session of its own: what the job sends to its group must not reach bubblewrap
                [*line, "--new-session"], job.argv, status.writing, memory=job.memory, processors=_processors(job),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            try:
                status.begin()
                started(status.first_process() or process.pid)
                stopped = _wait(process, status, job, follow)
            except BaseException:  # nobody reads our output any more, or Ctrl-C came before its handler: no orphan
                process.terminate()
                process.wait()
                raise
        code = status.exit_code
        if code is None and not stopped:
            raise SandboxError(f"the job could not be started in the sandbox: {_last_line(job.log)}")
        return Outcome(exit_code=137 if code is None else code, canceled=stopped)


def _processors(job: Job) -> list[int]:
    """Those that the job may use; none means any."""
    return sorted(os.sched_getaffinity(0))[: job.cpus] if job.cpus else []


def _wait(
    process: "subprocess.Popen[bytes]", status: SandboxStatus, job: Job, follow: Callable[[bytes], None] | None
) -> bool:
    """Follow the log until the job ends; return whether it was asked to stop."""
    kill_at: list[float] = []

    def forward(number: int, _: FrameType | None) -> None:
        kill_at.append(time.monotonic() + job.grace())
        if not status.signal(number):
            process.terminate()

    with cancel_signals(forward), job.log.open("rb") as reading:
        while True:
            ended = process.poll() is not None
            piece = reading.read(1 << 16) if follow else b""
            if piece and follow:
                follow(piece)
            elif ended:
                return bool(kill_at)
            # after each piece: a job that writes quicker than somebody reads would never be killed
            if kill_at and not ended and time.monotonic() > min(kill_at):
                process.terminate()
            if not piece:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL)


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST))
        return (file.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
