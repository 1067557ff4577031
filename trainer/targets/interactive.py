"""A shell or a command in an environment, with this terminal: the local target's sandbox without a record or a log."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from envbuild.builder.sandbox.bubblewrap import find_bubblewrap
from envbuild.builder.sandbox.command import Mount, command, fits_overlay
from envbuild.builder.sandbox.merge import merged_folder
from envbuild.builder.sandbox.process import start
from envbuild.errors import SandboxError
from envbuild.settings import Settings

from . import GRACE, SESSION_FOLDER, Session
from .gpus import Gpus, sandbox_mounts
from .sandbox_status import SandboxStatus
from .signals import cancel_signals

_POLL = 0.5
"""Seconds between two looks whether the time to end is over."""


def run_interactively(session: Session, gpus: Gpus, settings: Settings) -> int:
    """Run `session` in the sandbox, where it can use `gpus`; return its exit code.

    Standard input, output and error are the caller's. Ctrl-C goes to the command, as in any shell; when we are asked to
    end otherwise, so is the command, and after `GRACE` seconds it is killed.

    Raises:
        SandboxError: no sandbox works here, or the command could not be started in it.
    """
    bwrap = find_bubblewrap(settings)
    merged = None if fits_overlay(bwrap, session.root) else merged_folder(session.root, settings.home / "scratch")
    line = command(
        bwrap, session.root, env=gpus.env(session.env),
        mounts=[Mount(session.folder, SESSION_FOLDER, writable=True), *sandbox_mounts(gpus)],
        cwd=SESSION_FOLDER, network=session.network, merged=merged, shm_size=session.shm_size,
    )  # fmt: skip
    asked: list[float] = []

    def ask(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and _in_foreground():
            return
        if number != signal.SIGINT:
            asked.append(time.monotonic())
        status.signal(number)

    with SandboxStatus() as status, cancel_signals(ask):
        process = start(line, session.argv, status.writing)
        status.begin()
        code = _wait(process, asked)
    if code < 0:
        return 128 - code
    if status.exit_code is None:
        raise SandboxError(f"{session.argv[0]} could not be started in the environment; see the message above")
    return code


def _in_foreground() -> bool:
    """Whether a terminal's Ctrl-C comes to us: it goes to all foreground processes, so the command has it already."""
    with suppress(OSError), open("/dev/tty", "rb", buffering=0) as terminal:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    return False


def _wait(process: "subprocess.Popen[bytes]", asked: Sequence[float]) -> int:
    """Wait for the end; a command that was asked to end and has not is killed."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL)
        if asked and time.monotonic() > asked[0] + GRACE:
            process.terminate()
