"""A shell or a command in a container, with this terminal: the Docker target without a record or a log.

With a terminal as standard input the container gets one too, ours is raw meanwhile, and Ctrl-C is a key like any.
Without one, input and both outputs are passed on apart, and so are the signals that come to us.
"""

import os
import select
import signal
import socket
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from envbuild.builder.publish.engine import Engine, engine_errors

from . import GRACE
from .container import new_container
from .frames import PIECE, frames
from .races import ask_again

if TYPE_CHECKING:
    from docker.models.containers import Container

_POLL = 0.05
"""Seconds between two looks for a signal or the end, and for input."""
_SIZE_AGAIN = (0.2, 1.0, 3.0)
"""Seconds after the start at which the window's size is said again, for a container that has its terminal late."""
_DRAIN = 10.0
"""Seconds in which the last output of an ended container arrives."""


def run_in_container(engine: Engine, options: dict[str, Any]) -> int:
    """Run the container that `options` describe on this terminal; return its exit code. It is gone afterwards.

    Raises:
        EngineError: the engine refuses it, or the connection broke off.
    """
    terminal = os.isatty(0)
    with new_container(engine, {**options, "stdin_open": True, "tty": terminal}) as container:
        with engine_errors(engine, "start the shell"):
            connection = engine.client.api.attach_socket(
                str(container.id), params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            )
        with _Signals() as signals, _raw(terminal):
            output = _Output(connection, framed=not terminal)
            with engine_errors(engine, "start the shell"):
                container.start()
            output.start()
            _pass_on(container, output, signals, terminal)
        with engine_errors(engine, "say how the shell ended"):
            code = int(ask_again(container.wait)["StatusCode"])
        return 128 + signal.SIGPIPE if output.unread.is_set() else code


def _pass_on(container: "Container", output: "_Output", signals: "_Signals", terminal: bool) -> None:
    """Input, signals and the window's size into the container, until its output ends."""
    kill_at = float("inf")
    feeding = threading.Thread(target=_feed, args=(output,), daemon=True)
    feeding.start()
    begun, again = time.monotonic(), list(_SIZE_AGAIN)
    while not output.ended.is_set():
        late = bool(again) and time.monotonic() > begun + again[0]
        if terminal and (signals.take_resized() or late):
            _resize(container)
        if late:
            del again[0]
        for number in signals.take():
            _signal(container, number)
            if number != signal.SIGINT:  # a prompt ignores SIGTERM, and we were asked to end
                kill_at = min(kill_at, time.monotonic() + GRACE)
        if time.monotonic() > kill_at:
            _signal(container, signal.SIGKILL)
            kill_at = float("inf")
        output.ended.wait(_POLL)
    output.finish()
    if output.unread.is_set():  # as a program ends here that writes into a closed pipe
        _signal(container, signal.SIGKILL)
    feeding.join(2 * _POLL)


def _feed(output: "_Output") -> None:
    """Our input into the container, in a thread of its own: one that reads none of it must not keep signals waiting."""
    with suppress(OSError):  # there is no input
        while not output.ended.is_set():
            ready = select.select([0], [], [], _POLL)[0] and not output.ended.is_set()
            if ready and not output.send(os.read(0, PIECE)):
                return


def _signal(container: "Container", number: int) -> None:
    from docker.errors import APIError

    with suppress(APIError):  # it has just ended
        container.kill(signal.Signals(number).name)


def _resize(container: "Container") -> None:
    from docker.errors import APIError

    with suppress(APIError, OSError):  # it has just ended, or the terminal has hung up
        size = os.get_terminal_size(0)
        container.resize(height=size.lines, width=size.columns)


@contextmanager
def _raw(terminal: bool) -> Iterator[None]:
    """Our terminal passes every key on; as it was when the block ends."""
    if not terminal:
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        with suppress(termios.error):  # it has hung up
            termios.tcsetattr(0, termios.TCSADRAIN, before)


class _Signals:
    """The signals that come while the block runs, to be taken when there is time."""

    def __init__(self) -> None:
        self._asked: list[int] = []
        self._resized = True
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Signals":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._ask)
        self._before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._resize)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def take(self) -> list[int]:
        asked, self._asked = self._asked, []
        return asked

    def take_resized(self) -> bool:
        """Whether the window has another size than at the last look; at first it has."""
        resized, self._resized = self._resized, False
        return resized

    def _ask(self, number: int, _: FrameType | None) -> None:
        self._asked.append(number)

    def _resize(self, _: int, __: FrameType | None) -> None:
        self._resized = True


class _Output:
    """Copies what the container says to our own outputs: in frames, unless it has a terminal."""

    def __init__(self, connection: Any, *, framed: bool) -> None:
        self._connection: socket.socket = getattr(connection, "_sock", connection)
        self._connection.settimeout(None)
        self._keep = connection  # when this object goes, it closes the socket below it
        self._framed = framed
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self.ended = threading.Event()
        self.unread = threading.Event()
        """Whoever reads our output has gone."""

    def start(self) -> None:
        self._thread.start()

    def send(self, data: bytes) -> bool:
        """Pass input on; an empty piece is its end. Return whether there may be more."""
        with suppress(OSError):  # it has just ended
            if data:
                self._connection.sendall(data)
                return True
            self._connection.shutdown(socket.SHUT_WR)
        return False

    def finish(self) -> None:
        self._thread.join(_DRAIN)
        with suppress(OSError):  # the engine has closed it; what nobody reads here must not keep it waiting
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _copy(self) -> None:
        try:
            for stream, piece in frames(self._connection) if self._framed else _whole(self._connection):
                try:
                    _write(2 if stream == 2 else 1, piece)
                except OSError:
                    self.unread.set()
                    return
        except OSError:  # the engine has gone
            return
        finally:
            self.ended.set()


def _whole(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """What comes from a terminal, where there is one stream only."""
    while piece := connection.recv(PIECE):
        yield 1, piece


def _write(stream: int, data: bytes) -> None:
    while data:
        data = data[os.write(stream, data) :]
