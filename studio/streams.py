"""Server-sent events: a look at some files every now and then, what changed to the browser.

Looking is a few stat(2) calls in a thread; nothing is kept between streams, so any number of pages may be open.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

from envbuild.errors import EnvbuildError, NotFound

from .sendable import to_json

POLL = 0.2
"""Seconds between two looks."""

_PING = 15.0
"""Seconds after which an idle stream says that it is alive, so that a vanished reader is noticed."""


@dataclass(frozen=True)
class Event:
    """One event for the browser."""

    name: str
    data: Any
    """Becomes JSON."""

    def encoded(self) -> bytes:
        return b"event: " + self.name.encode() + b"\ndata: " + to_json(self.data) + b"\n\n"


END = Event("end", None)
"""Nothing will change any more: the browser does not ask again."""


def stream(request: Request, look: Callable[[], Iterable[Event]], poll: float = POLL) -> StreamingResponse:
    """Answer with the events that `look` finds, until it gives `END`, the thing is not there any more, or the
    reader or the server goes.
    """

    async def events() -> AsyncIterator[bytes]:
        yield b"retry: 1000\n\n"
        idle = 0.0
        while not request.app.state.closing():
            try:
                found = await run_in_threadpool(lambda: list(look()))
            except NotFound:  # deleted while it was looked at
                found = [END]
            except (EnvbuildError, OSError):  # the browser asks again, and is told what it is
                return
            for event in found:
                yield event.encoded()
            if END in found:
                return
            idle = 0.0 if found else idle + poll
            if idle >= _PING:
                idle = 0.0
                yield b": alive\n\n"
            await anyio.sleep(poll)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})
