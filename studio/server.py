"""Serves the studio on one address until it is stopped, and says in the home where it is."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn

from envbuild.errors import InputError
from envbuild.settings import Settings

from .announce import announce
from .app import make_app
from .security import Door

_LONGEST_ADDRESS = 1 << 20
"""Bytes of a request's head: comparing 1,000 runs names each of them."""


def serve(settings: Settings, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; `ready` is told the URL once requests are answered. Port 0: any free one.

    Raises:
        InputError: the address cannot be bound.
    """
    listening = _bind(host, port)
    door = Door(host, listening.getsockname()[1])
    shown = "127.0.0.1" if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{door.port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready(url)

    def closing() -> bool:
        return server.should_exit

    config = uvicorn.Config(
        make_app(settings, door, closing), log_level="warning", access_log=False, server_header=False, lifespan="off",
        h11_max_incomplete_event_size=_LONGEST_ADDRESS, http="h11", timeout_graceful_shutdown=3,
    )  # fmt: skip
    server = Server(config)
    settings.home.mkdir(parents=True, exist_ok=True)
    # uvicorn sends itself the signal again that ended it; Ctrl-C is how a studio is meant to end
    with suppress(KeyboardInterrupt), _ending_after_sigterm(), announce(settings.home, url):
        server.run(sockets=[listening])


@contextmanager
def _ending_after_sigterm() -> Iterator[None]:
    """Die of a SIGTERM only once the block has ended: uvicorn, when it has shut down, sends itself the signal again."""
    ended = []
    before = signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
    for number in ended:
        signal.raise_signal(number)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        hint = "choose another --port, or --port 0 for any free one" if port else "choose another --host"
        raise InputError(f"{host}:{port} cannot be listened on ({error.strerror or error}); {hint}") from None
    return listening
