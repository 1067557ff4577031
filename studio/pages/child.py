"""One child run: what its script logged, uploaded and wrote in it. It is a part of its run, and has no record."""

from contextlib import suppress
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from envbuild.errors import NotFound
from envbuild.studio import charts, logs
from envbuild.studio.files import MOST_LISTED, FileEntry, asked_file, file_response, list_files, open_file
from envbuild.studio.render import json_response, render
from envbuild.trainer.children import ChildRun, child_run, child_runs, line_of
from envbuild.trainer.metrics import Notes, RunMetrics
from envbuild.trainer.notes import NoteReader
from envbuild.trainer.run import RunRecord
from envbuild.trainer.run_files import files_inside

from .run import DRIVER_LOG, follow, for_people, listed, readable, run_of, window_response

_LONGEST_LOG = 1 << 62
"""Bytes; a script may say of a child's place in the log what it likes."""


def overview(request: Request) -> Response:
    """Facts and charts."""
    child = child_of(request)
    logged = {path.removeprefix("images/") for path in child.images}
    images = [file for file in list_files(child.run.folder / "images")[0] if file.path in logged]
    return _page(request, child, "child_overview.html", images=images, children=listed(child.run, child.id))


def log_page(request: Request) -> Response:
    """The child's part of the log, its last lines first."""
    child = child_of(request)
    part = _part(child.notes)
    with open_file(child.run.folder, DRIVER_LOG) as file:
        window = logs.window_at_end(file, part)
    known = child.notes.log_begin is not None
    return _page(request, child, "child_logs.html", window=window, known=known, first=part.begin)


def log_window(request: Request) -> Response:
    """A window of that part: `before=BYTE`, `after=BYTE`, or its end."""
    child = child_of(request)
    with open_file(child.run.folder, DRIVER_LOG) as file:
        return window_response(request, file, _part(child.notes))


def outputs(request: Request) -> Response:
    """What was uploaded to the child, and MLflow's artifacts of it."""
    child = child_of(request)
    files, more = _files(child)
    chosen = asked_file(request)
    text = None
    if chosen:
        with open_file(child.run.folder, _place(child, chosen)) as file:
            text = readable(file)
    return _page(request, child, "child_outputs.html", files=files, more=more, shown=for_people(chosen), text=text)


def output_file(request: Request) -> Response:
    """One of these files, as it is."""
    child = child_of(request)
    return file_response(child.run.folder, _place(child, asked_file(request)))


def metrics(request: Request) -> Response:
    """The child's metrics so far, thinned to what a chart can show."""
    child = child_of(request)
    return json_response(charts.run_metrics(child.run.folder, child=child.id))


def events(request: Request) -> Response:
    """What changes: what the script says of the child, its metrics, its part of the log."""
    child = child_of(request)
    said = _Said(child)
    log = DRIVER_LOG if "after" in request.query_params else None
    return follow(request, child.run, log, said.appearance, said.part, child.id)


def child_of(request: Request) -> ChildRun:
    """The child run that the address names.

    Raises:
        NotFound: there is none.
    """
    return child_run(run_of(request), request.query_params.get("id", ""))


class _Said:
    """What the script says of a child, as it comes."""

    def __init__(self, child: ChildRun) -> None:
        self._id = child.id
        self._reader = NoteReader(child.run.folder)
        self._notes = RunMetrics(notes={child.id: child.notes})

    def appearance(self, run: RunRecord) -> object:
        self._notes.extend(RunMetrics(notes=self._reader.read()))
        return run.state, {child: asdict(notes) for child, notes in self._notes.notes.items()}

    def part(self) -> logs.Part:
        return _part(self._notes.notes_of(self._id))


def _part(notes: Notes) -> logs.Part:
    """The child's part of the log; all of it where the job could not know."""
    if notes.log_begin is None or not 0 <= notes.log_begin < _LONGEST_LOG:
        return logs.WHOLE
    end = notes.log_end
    return logs.Part(notes.log_begin, end if end is not None and end >= notes.log_begin else None)


def _files(child: ChildRun) -> tuple[list[FileEntry], bool]:
    """The child's files, and whether there are more than are listed."""
    paths = _paths(child)
    found = []
    for shown in sorted(paths)[:MOST_LISTED]:
        with suppress(OSError):
            status = (child.run.folder / paths[shown]).lstat()
            found.append(FileEntry(shown, status.st_size, status.st_mtime))
    return found, len(paths) > MOST_LISTED


def _place(child: ChildRun, shown: str) -> str:
    """Where the child's file `shown` lies below the run's folder.

    Raises:
        NotFound: the child has none of that name.
    """
    place = _paths(child).get(shown)
    if place is None:
        raise NotFound(f"{for_people(shown)!r} is no file of the child run {child.name}")
    return place


def _paths(child: ChildRun) -> dict[str, str]:
    """What the child's files are called -> where they lie below the run's folder; no links among them."""
    own = child.notes.files
    paths = {path.partition("/artifacts/")[2]: path for path in child.notes.artifacts}
    if own:
        paths.update({path[len(own) + 1 :]: path for path in files_inside(child.run.folder, own)})
    return paths


def _page(request: Request, child: ChildRun, template: str, **context: Any) -> Response:
    line = line_of(child_runs(child.run), child)
    return render(request, template, run=child.run, child=child, line=line, **context)


_CHILD = "/runs/{experiment}/{run_id}/child"

ROUTES = [
    Route(_CHILD, overview, name="child"),
    Route(f"{_CHILD}/logs", log_page, name="child_logs"),
    Route(f"{_CHILD}/logs/window", log_window, name="child_log_window"),
    Route(f"{_CHILD}/outputs", outputs, name="child_outputs"),
    Route(f"{_CHILD}/output", output_file, name="child_output"),
    Route(f"{_CHILD}/metrics", metrics, name="child_metrics"),
    Route(f"{_CHILD}/events", events, name="child_events"),
]
