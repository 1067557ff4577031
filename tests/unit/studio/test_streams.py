"""A stream of events ends when there is nothing to look at any more."""

from collections.abc import Iterable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from envbuild.errors import NotFound, StoreError
from envbuild.studio.streams import Event, stream

BEGIN = "retry: 1000\n\nevent: log\ndata: 1\n\n"


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (NotFound("there is no run"), "event: end\ndata: null\n\n"),  # a page of a deleted run asks no more
        (StoreError("the disk is full"), ""),
        (OSError(5, "Input/output error"), ""),
    ],
)
def test_what_cannot_be_looked_at_any_more_ends_the_stream(error: Exception, last: str) -> None:
    looks = iter([[Event("log", 1)], error])

    def look() -> Iterable[Event]:
        found = next(looks)
        if isinstance(found, Exception):
            raise found
        return found

    def answer(request: Request) -> Response:
        return stream(request, look, poll=0.01)

    app = Starlette(routes=[Route("/", answer)])
    app.state.closing = lambda: False
    assert TestClient(app).get("/").text == BEGIN + last
