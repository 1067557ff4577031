"""Ctrl-C that cannot get lost.

Python raises KeyboardInterrupt wherever the interpreter happens to be. Where nothing can be raised, in a destructor, a
callback of a library or of the import system, it is printed and forgotten, and a build would go on as if nobody had
asked it to stop. So it is noted too: every stage that ends looks, and the signal is sent once more a moment later.
"""

import os
import signal
import sys
import threading
from types import CodeType, FrameType
from typing import Any

_asked = threading.Event()
_hooks: set[CodeType] = set()
"""The code of our own hook, once it is in place."""

_AGAIN = 0.02
"""Seconds until a forgotten Ctrl-C comes again: the place where nothing could be raised is left by then."""


def watch() -> None:
    """Note every Ctrl-C from now on; who has set a handler of their own, or ignores it, keeps that."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    signal.signal(signal.SIGINT, _note)
    others = sys.unraisablehook

    def forgotten(unraisable: Any) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:
            others(unraisable)
            return
        _ask_again()

    _hooks.add(forgotten.__code__)
    sys.unraisablehook = forgotten


def check() -> None:
    """End here when somebody has asked for it.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed since `watch`.
    """
    if _asked.is_set():
        _asked.clear()
        raise KeyboardInterrupt


def _ask_again() -> None:
    timer = threading.Timer(_AGAIN, _send_again)
    timer.daemon = True
    timer.start()


def _send_again() -> None:
    if _asked.is_set():  # no stage has noticed it meanwhile
        os.kill(os.getpid(), signal.SIGINT)


def _note(number: int, frame: FrameType | None) -> None:
    _asked.set()
    if _is_in_hook(frame):  # on a busy machine a moment is over before the hook has returned, which can raise nothing
        _ask_again()
        return
    raise KeyboardInterrupt


def _is_in_hook(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code not in _hooks:
        frame = frame.f_back
    return frame is not None
