"""What ends a job before its time: a signal to its supervisor, or a time limit, which is the same signal to itself."""

import os
import signal
import threading
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """SIGTERM and SIGHUP raise KeyboardInterrupt like Ctrl-C; a target sets its own handlers while a job runs.

    Only the main thread may set handlers; elsewhere this does nothing.
    """

    def __enter__(self) -> "Signals":
        self._old: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._interrupt) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def ignore(self) -> None:
        """From now on the record is being written, which nothing may cut short."""
        for number in self._old:
            signal.signal(number, signal.SIG_IGN)

    @staticmethod
    def _interrupt(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt


class TimeLimit:
    """Sends this process the signal to cancel when the time is over; no limit when `seconds` is `None`."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.reached = False
        self._timer = threading.Timer(seconds or 0, self._reach)
        self._timer.daemon = True

    def begin(self) -> None:
        """The job runs from now on."""
        if self.seconds is not None:
            self._timer.start()

    def __enter__(self) -> "TimeLimit":
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _reach(self) -> None:
        self.reached = True
        os.kill(os.getpid(), signal.SIGTERM)
