"""The local target: the job in a bubblewrap sandbox on this machine, with neither daemon nor root.

The job writes its log itself, through descriptors of the log file, so nothing is lost or reordered when we die.
Signals go to the training command (the child of the sandbox's first process), because bubblewrap forwards none; after
a grace period everything in the sandbox is killed, and with us the kernel kills it too (--die-with-parent).
"""

import json
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from envbuild.builder.sandbox import command, find_bubblewrap, fits_overlay, merged_folder
from envbuild.errors import SandboxError
from envbuild.settings import Settings

from . import Job, Outcome

GRACE = 10.0
"""Seconds between the first signal and the kill."""

_POLL = 0.05
"""Seconds between two looks at the log."""


class Local:
    """Runs jobs on this machine."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def run(self, job: Job, started: Callable[[int], None], follow: Callable[[bytes], None] | None) -> Outcome:
        bwrap = find_bubblewrap(self._settings)
        merged = None
        if not fits_overlay(bwrap, job.root):
            merged = merged_folder(job.root, self._settings.home / "scratch")
        line = command(
            bwrap, job.root, env=job.env, mounts=job.mounts, cwd=job.cwd, network=job.network, merged=merged,
            shm_size=job.shm_size,
        )  # fmt: skip
        with job.log.open("ab", buffering=0) as log, _Status() as status:
            process = subprocess.Popen(
                [*line, "--json-status-fd", str(status.writing), "--", *job.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[status.writing],
                start_new_session=True,
                preexec_fn=_limits(job),
            )
            try:
                status.begin()
                started(process.pid)
                stopped = _wait(process, status, job.log, follow)
            except BaseException:  # nobody reads our output any more, or Ctrl-C came before its handler: no orphan
                process.kill()
                process.wait()
                raise
        code = status.exit_code
        if code is None and not stopped:
            raise SandboxError(f"the job could not be started in the sandbox: {_last_line(job.log)}")
        return Outcome(exit_code=137 if code is None else code, canceled=stopped)


class _Status:
    """bubblewrap's status lines: the pid of the sandbox's first process, and the command's own exit code."""

    def __enter__(self) -> "_Status":
        self._reading, self.writing = os.pipe()
        self._seen: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._read, daemon=True)
        return self

    def begin(self) -> None:
        os.close(self.writing)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self._thread.ident is None:  # bubblewrap was never started
            os.close(self.writing)
            os.close(self._reading)
        else:
            self._thread.join(5)

    @property
    def exit_code(self) -> int | None:
        return self._seen.get("exit-code")

    def command_pids(self) -> list[int]:
        """The processes that the sandbox's first one started: the training command."""
        first = self._seen.get("child-pid")
        try:
            return [int(pid) for pid in Path(f"/proc/{first}/task/{first}/children").read_text().split()]
        except OSError:
            return []

    def _read(self) -> None:
        with open(self._reading, "rb") as lines:
            for line in lines:
                try:
                    self._seen.update(json.loads(line))
                except ValueError:
                    continue


def _limits(job: Job) -> Callable[[], None]:
    """What the child sets before it becomes bubblewrap; made here, because little is safe after a fork."""
    processors = sorted(os.sched_getaffinity(0))[: job.cpus] if job.cpus else None

    def apply() -> None:
        if job.memory:  # RLIMIT_AS would count address space, of which torch reserves plenty
            resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))
        if processors:
            os.sched_setaffinity(0, processors)

    return apply


def _wait(
    process: "subprocess.Popen[bytes]", status: _Status, log: Path, follow: Callable[[bytes], None] | None
) -> bool:
    """Follow the log until the job ends; return whether it was asked to stop."""
    asked: list[float] = []

    def forward(number: int, _: FrameType | None) -> None:
        asked.append(time.monotonic())
        pids = status.command_pids()
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        if not pids:
            process.kill()

    with _handling(forward), log.open("rb") as reading:
        while True:
            ended = process.poll() is not None
            while piece := reading.read(1 << 16):
                if follow:
                    follow(piece)
            if ended:
                return bool(asked)
            if asked and time.monotonic() - asked[0] > GRACE:
                process.kill()
            try:
                process.wait(_POLL)
            except subprocess.TimeoutExpired:
                continue


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers; a caller with threads cancels by other means
        return
    old = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)


def _last_line(log: Path) -> str:
    return (log.read_bytes().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
