"""Scripts and styles: ours, and the chart library's out of its installed package."""

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from envbuild.studio.render import STATIC

_FOR_EVER = "public, max-age=31536000, immutable"


class _Kept:
    """Static files that browsers keep: their address changes with their content."""

    def __init__(self) -> None:
        self._files = StaticFiles(directory=STATIC)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                message["headers"] = [*message["headers"], (b"cache-control", _FOR_EVER.encode())]
            await send(message)

        await self._files(scope, receive, keep)


def plotly_script(request: Request) -> Response:
    """Plotly's bundled JavaScript, never copied."""
    path = str(files("plotly") / "package_data" / "plotly.min.js")
    return FileResponse(path, media_type="text/javascript", headers={"cache-control": _FOR_EVER})


ROUTES = [
    Route("/plotly/{version}/plotly.min.js", plotly_script, name="plotly"),
    Mount("/static/{version}", _Kept(), name="static"),
]
