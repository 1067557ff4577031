"""Builds: the log of each, failed ones and the one that is running now."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from envbuild.builder.log import FILE_NAME, is_being_written
from envbuild.errors import NotFound
from envbuild.studio import logs
from envbuild.studio.files import file_response, open_file
from envbuild.studio.render import render
from envbuild.studio.streams import END, Event, stream

from .run import is_name, whole_number, window_response

MOST_LISTED = 200


@dataclass(frozen=True)
class BuildEntry:
    """One build."""

    name: str
    """`ENVIRONMENT-DATE-TIME-NUMBER`, the name of its folder."""
    state: str
    """Running, Done, Failed, or Stopped when its process was killed."""
    began: float
    ended: float
    last_line: str


def page_of_builds(request: Request) -> Response:
    """The builds, newest first."""
    folders = _folders(request.app.state.home)
    builds = [_entry(folder) for folder in folders[:MOST_LISTED]]
    return render(request, "builds.html", builds=builds, more=len(folders) - len(builds))


def events_of_builds(request: Request) -> Response:
    """Says when a build came or went."""
    home: Path = request.app.state.home

    def appearance() -> list[tuple[str, bool]]:
        return [(folder.name, is_being_written(folder / FILE_NAME)) for folder in _folders(home)[:MOST_LISTED]]

    seen = appearance()

    def look() -> Iterator[Event]:
        nonlocal seen
        now = appearance()
        if now != seen:
            seen = now
            yield Event("refresh", None)

    return stream(request, look, poll=0.5)


def build_page(request: Request) -> Response:
    """One build's log, its last lines first, as it grows."""
    folder = _folder(request)
    with open_file(folder, FILE_NAME) as file:
        window = logs.window_at_end(file)
    return render(request, "build.html", build=_entry(folder), window=window)


def build_window(request: Request) -> Response:
    """Part of the log."""
    with open_file(_folder(request), FILE_NAME) as file:
        return window_response(request, file)


def build_log(request: Request) -> Response:
    """The whole log, to be saved."""
    return file_response(_folder(request), FILE_NAME)


def build_events(request: Request) -> Response:
    """The log from byte `after` on, until the build ends."""
    folder = _folder(request)
    place = whole_number(request, "after")

    def look() -> Iterator[Event]:
        nonlocal place
        running = is_being_written(folder / FILE_NAME)
        with open_file(folder, FILE_NAME) as file:
            window = logs.window_after(file, place)
        if window.end > place:
            place = window.end
            yield Event("log", window.document())
        elif not running:
            yield Event("refresh", None)
            yield END

    return stream(request, look)


def _folders(home: Path) -> list[Path]:
    found = [path.parent for path in (home / "logs").glob(f"*/{FILE_NAME}")]
    return sorted(found, key=lambda folder: folder.name.rsplit("-", 3)[1:], reverse=True)


def _folder(request: Request) -> Path:
    name = request.path_params["name"]
    home: Path = request.app.state.home
    folder: Path = home / "logs" / name
    if not is_name(name) or not (folder / FILE_NAME).is_file():
        raise NotFound(f"there is no build {name}")
    return folder


def _entry(folder: Path) -> BuildEntry:
    running = is_being_written(folder / FILE_NAME)
    with open_file(folder, FILE_NAME) as file:
        first = logs.window_after(file, 0).text.partition("\n")[0]
        lines = logs.window_at_end(file).text.splitlines()
    last = lines[-1] if lines else ""
    # a line of the log: time, stage, text
    failed = any(line.split(None, 2)[1:2] == ["failed"] for line in lines[-20:])
    finished = last.partition(" ")[2].startswith(("image", "register"))
    state = "Running" if running else "Failed" if failed else "Done" if finished else "Stopped"
    status = (folder / FILE_NAME).stat()
    return BuildEntry(folder.name, state, _time_of(first, status.st_mtime), status.st_mtime, last.partition(" ")[2])


def _time_of(line: str, otherwise: float) -> float:
    try:
        moment = datetime.strptime(line.partition(" ")[0], "%Y-%m-%dT%H:%M:%S.%fZ")
    except ValueError:
        return otherwise
    return moment.replace(tzinfo=timezone.utc).timestamp()


ROUTES = [
    Route("/builds", page_of_builds, name="builds"),
    Route("/builds/events", events_of_builds, name="builds_events"),
    Route("/builds/{name}", build_page, name="build"),
    Route("/builds/{name}/window", build_window, name="build_window"),
    Route("/builds/{name}/file", build_log, name="build_log"),
    Route("/builds/{name}/events", build_events, name="build_events"),
]
