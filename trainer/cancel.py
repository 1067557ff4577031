"""Canceling a run: a signal to the process that supervises it, which asks the job to end, waits, and kills it."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from envbuild.builder import atomic
from envbuild.errors import EnvbuildError, InputError

from .cancellation import Signals
from .compose import CANCEL_FILE
from .run import RunRecord, change_run, load_folder, now, supervisor_is_here, supervisor_place
from .supervision import is_in_another_container, process_start
from .targets import GRACE

_SLACK = 20.0
"""Seconds after the kill in which a supervisor on a busy machine writes how the run ended."""

_POLL = 0.05


def cancel(run: RunRecord, grace: float = GRACE) -> RunRecord:
    """Cancel `run` and return its record once it has ended; `grace` is the time from the signal to the kill (seconds).

    Raises:
        InputError: it has ended already, or is supervised on another machine.
        EnvbuildError: the signal is not allowed, or the run has not ended in time.
    """
    request_cancel(run, grace)
    deadline = time.monotonic() + grace + _SLACK
    while time.monotonic() < deadline:
        run = load_folder(run.folder)
        if run.is_final:
            return run
        time.sleep(_POLL)
    raise EnvbuildError(f"{run.run_id} was asked to end but is still {run.state}; its process is {_pid(run)}")


def request_cancel(run: RunRecord, grace: float = GRACE) -> None:
    """Send the signal, and do not wait.

    Raises:
        InputError, EnvbuildError: as `cancel`.
    """
    if run.is_final:
        raise InputError(f"{run.run_id} has ended already: {run.state}")
    if not supervisor_is_here(run):
        told = f"{run.run_id} is supervised {supervisor_place(run)}; cancel it there"
        if is_in_another_container(run.folder, run.document):
            raise InputError(told)
        raise InputError(f"{told}, or, if that machine is gone for good: envbuild runs cancel --lost {run.run_id}")
    run = change_run(run, _cancel_queued)  # as it stands: another process may have begun to supervise it
    if run.is_final:
        return
    atomic.write_file(run.folder / CANCEL_FILE, json.dumps({"grace": grace}).encode())
    pid = _pid(run)
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return  # it has just ended
    try:
        # the descriptor holds the process: between this comparison and the signal its pid cannot become another's
        if process_start(pid) == run.document["process"]["start"]:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except PermissionError:
        raise EnvbuildError(f"{run.run_id} belongs to another user's process ({pid}); ask that user") from None
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


@contextmanager
def answering_for(run: RunRecord) -> Iterator[None]:
    """Record the queued `run` as Canceled when what is to start it is interrupted, or told to end, before it has.

    Without this nobody would have begun it, and it would be found Lost.
    """
    with Signals() as signals:
        try:
            yield
        except KeyboardInterrupt:
            signals.ignore()
            change_run(run, _cancel_queued)
            raise


def cancel_requested(run: RunRecord) -> bool:
    """Whether somebody has asked `run` to end, and it has not ended yet."""
    return not run.is_final and (run.folder / CANCEL_FILE).exists()


def _cancel_queued(document: dict[str, Any]) -> dict[str, Any]:
    """A run that its supervisor has not begun needs no signal: who is only starting would die of it unrecorded."""
    if document["state"] != "Queued":
        return document
    return {**document, "state": "Canceled", "reason": "canceled", "ended": now()}


def _pid(run: RunRecord) -> int:
    return int(run.document["process"]["pid"])
