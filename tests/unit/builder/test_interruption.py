"""Ctrl-C where Python cannot raise it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from envbuild.builder import interruption
from envbuild.builder.log import BuildLog
from envbuild.builder.report import Silent


class InterruptedWhileItGoes:
    """Gets Ctrl-C in its destructor, where Python prints an exception and forgets it."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    before, hook = signal.signal(signal.SIGINT, signal.default_int_handler), sys.unraisablehook
    interruption.watch()
    yield
    # what one test was asked, now or in a moment, is nothing to the next
    for timer in [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]:
        with suppress(KeyboardInterrupt):
            timer.join()
            time.sleep(0.001)
    with suppress(KeyboardInterrupt):
        interruption.check()
    signal.signal(signal.SIGINT, before)
    sys.unraisablehook = hook


def test_a_stage_that_ends_raises_what_was_forgotten(tmp_path: Path) -> None:
    log = BuildLog(tmp_path / "log.txt", Silent())
    with pytest.raises(KeyboardInterrupt), log.stage("pack"):
        InterruptedWhileItGoes()
    interruption.check()  # raised once, and done with


def test_what_was_forgotten_comes_again_where_it_can_be_raised(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        InterruptedWhileItGoes()
        time.sleep(60)
    assert capsys.readouterr().err == ""


def test_what_comes_again_too_early_comes_once_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first timer is over before whoever starts it goes on."""
    start, early = threading.Timer.start, [True]

    def at_once(timer: threading.Timer) -> None:
        if early:
            early.pop()
            os.kill(os.getpid(), signal.SIGINT)
        else:
            start(timer)

    monkeypatch.setattr(threading.Timer, "start", at_once)
    with pytest.raises(KeyboardInterrupt):
        InterruptedWhileItGoes()
        time.sleep(60)
    assert capsys.readouterr().err == ""


def test_without_ctrl_c_a_stage_just_ends(tmp_path: Path) -> None:
    log = BuildLog(tmp_path / "log.txt", Silent())
    with log.stage("pack"):
        pass
    assert "done in" in log.path.read_text()


def test_a_handler_that_is_there_stays() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interruption.watch()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
