"""Templates in, pages out. Everything is escaped; a name that a template misspells is an error, not an empty place."""

import hashlib
import math
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from envbuild import __version__
from envbuild.builder.report import size

from .sendable import sendable, to_json

HERE = Path(__file__).resolve().parent
STATIC = HERE / "static"


def render(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """The page `template` with `context`."""

    def url(name: str, /, **parameters: Any) -> str:
        return request.app.url_path_for(name, **parameters)  # type: ignore[no-any-return]

    shared = {"request": request, "home": request.app.state.home, "csrf": request.state.csrf, "url": url}
    return HTMLResponse(sendable(_environment().get_template(template).render({**shared, **context})), status)


def json_response(document: Any) -> Response:
    """`document` as JSON."""
    return Response(to_json(document), media_type="application/json")


@cache
def static_version() -> str:
    """Changes with any of our static files, so that browsers may keep them for ever."""
    digest = hashlib.sha256()
    for file in sorted(STATIC.iterdir()):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


@cache
def plotly_version() -> str:
    """The installed chart library's version."""
    return metadata.version("plotly")


def duration(seconds: float | None) -> str:
    """`35 ms`, `42 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds is None:
        return ""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def number(value: object) -> str:
    """A logged value for people, four significant digits."""
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return str(value)


def place(path: object) -> str:
    """A path for people: the reader's home folder is `~`."""
    text, own = str(path), str(Path.home())
    return f"~{text[len(own) :]}" if own != "/" and (text == own or text.startswith(f"{own}/")) else text


def moment(seconds: float) -> str:
    """Seconds since 1970 as records write times; nothing for a file's time that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""


def in_query(text: object) -> str:
    """A value of an address's query."""
    return quote(sendable(str(text)))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        duration=duration, size=size, number=number, moment=moment, place=place, urlencode=in_query
    )  # fmt: skip
    environment.globals.update(version=__version__, static_version=static_version, plotly_version=plotly_version)
    return environment
