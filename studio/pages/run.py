"""One run: what it is, its metrics and log as they grow, its files, its snapshot, its record."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from envbuild.errors import InputError, NotFound
from envbuild.studio import charts, logs
from envbuild.studio.files import asked_file, file_response, list_files, open_file
from envbuild.studio.render import json_response, render
from envbuild.studio.security import Form, form_route
from envbuild.studio.streams import END, Event, stream
from envbuild.trainer.cancel import cancel_requested
from envbuild.trainer.children import ChildRun, child_runs, line_of
from envbuild.trainer.run import RunRecord, change_run, load_folder

DRIVER_LOG = "70_driver_log.txt"

MOST_SHOWN = 512 * 1024
"""Bytes of a file that a page shows."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def overview(request: Request) -> Response:
    """Facts and charts."""
    run = run_of(request)
    images, _ = list_files(run.folder / "images")
    return _page(request, run, "run_overview.html", images=images, children=listed(run))


def log_page(request: Request) -> Response:
    """A log, its last lines first."""
    run = run_of(request)
    names = _log_names(run)
    chosen = request.query_params.get("file", DRIVER_LOG)
    if chosen not in names:
        raise NotFound(f"{run.run_id} has no log {chosen!r}; it has {', '.join(names) or 'none'}")
    with open_file(run.folder, chosen) as file:
        window = logs.window_at_end(file)
    return _page(request, run, "run_logs.html", names=names, chosen=chosen, window=window)


def log_window(request: Request) -> Response:
    """Part of a log: `before=BYTE`, `after=BYTE`, or its end."""
    run = run_of(request)
    with open_file(run.folder, _log_name(request, run)) as file:
        return window_response(request, file)


def window_response(request: Request, file: BinaryIO, part: logs.Part = logs.WHOLE) -> Response:
    """The window of `part` of `file` that the query asks for.

    Raises:
        InputError: the place is no number.
    """
    for name, read in (("before", logs.window_before), ("after", logs.window_after)):
        if name in request.query_params:
            return json_response(read(file, whole_number(request, name), part).document())
    return json_response(logs.window_at_end(file, part).document())


def outputs(request: Request) -> Response:
    """What the job wrote: images shown, text to read, the rest to save."""
    run = run_of(request)
    files, more = list_files(run.outputs)
    chosen = asked_file(request)
    text = None
    if chosen:
        with open_file(run.outputs, chosen) as file:
            text = readable(file)
    return _page(request, run, "run_outputs.html", files=files, more=more, shown=for_people(chosen), text=text)


def output_file(request: Request) -> Response:
    """One file of the outputs, as it is."""
    return file_response(run_of(request).outputs, asked_file(request))


def logged_image(request: Request) -> Response:
    """One image that the job logged."""
    return file_response(run_of(request).folder / "images", asked_file(request))


def log_file(request: Request) -> Response:
    """A whole log, to be saved."""
    run = run_of(request)
    return file_response(run.folder, _log_name(request, run))


def snapshot_page(request: Request) -> Response:
    """The code that ran."""
    run = run_of(request)
    listing = _snapshot(run)
    chosen = request.query_params.get("file", run.document.get("script", ""))
    entry = next((each for each in listing if each["path"] == chosen), None)
    text = None
    if entry is not None:
        with open_file(request.app.state.home / "snapshots" / "files", entry["sha256"]) as file:
            text = readable(file)
    return _page(request, run, "run_snapshot.html", listing=listing, chosen=chosen, entry=entry, text=text)


def record_page(request: Request) -> Response:
    """The record, word for word."""
    run = run_of(request)
    return _page(request, run, "run_record.html", text=json.dumps(run.document, indent=2, ensure_ascii=False))


def metrics(request: Request) -> Response:
    """The metrics so far, thinned to what a chart can show."""
    run = run_of(request)
    return json_response(charts.run_metrics(run.folder, ended=run.is_final))


def events(request: Request) -> Response:
    """What changes: the record, a wish to cancel, metrics (`since` a cursor), a log (`file` from byte `after` on)."""
    run = run_of(request)
    name = _log_name(request, run) if "file" in request.query_params else None
    return follow(request, run, name, lambda now: (now.document, cancel_requested(now)))


def follow(
    request: Request, run: RunRecord, name: str | None, appearance: Callable[[RunRecord], object],
    part: Callable[[], logs.Part] = lambda: logs.WHOLE, child: str | None = None,
) -> Response:  # fmt: skip
    """The events of `run` or of its `child`: `refresh` when its `appearance` changes, and what is asked for of its
    metrics and of the log `name`, of which `part` belongs to it.
    """
    growth = charts.Growth(run.folder, _cursor(request), child) if "since" in request.query_params else None
    place = whole_number(request, "after") if name else 0
    seen, partial = appearance(run), ""

    def look() -> Iterator[Event]:
        nonlocal place, partial, seen
        # the record first: what the job wrote before it ended is then there to be read
        now = load_folder(run.folder)
        looks = appearance(now)
        quiet = looks == seen
        if name:
            with open_file(run.folder, name) as file:
                window = logs.window_after(file, place, part())
            if window.end > place or window.partial != partial:
                quiet = False
                place, partial = window.end, window.partial
                yield Event("log", window.document())
        grown = growth.look() if growth else None
        if grown:
            quiet = False
            yield Event("metrics", grown)
        if looks != seen:
            seen = looks
            yield Event("refresh", None)
        if quiet and now.is_final:
            yield END

    return stream(request, look)


def tag(request: Request, form: Form) -> Response:
    """Sets a tag, or removes it."""
    run = run_of(request)
    name = "".join(form.get("name", ())).strip()
    value = "".join(form.get("value", ()))
    if not name or len(name) > 256 or len(value) > 4096:
        raise InputError("a tag needs a name of at most 256 characters, and a value of at most 4,096")

    def change(document: dict[str, Any]) -> dict[str, Any]:
        tags = {key: kept for key, kept in (document.get("tags") or {}).items() if key != name}
        return {**document, "tags": tags if "remove" in form else {**tags, name: value}}

    change_run(run, change)
    page = request.app.url_path_for("run", experiment=run.experiment, run_id=run.run_id)
    return RedirectResponse(f"{page}#tags", status_code=303)


def run_of(request: Request) -> RunRecord:
    """The run that the address names.

    Raises:
        NotFound: there is none.
    """
    return find_run(request.app.state.home, request.path_params["experiment"], request.path_params["run_id"])


def find_run(home: Path, experiment: str, run_id: str) -> RunRecord:
    """The run with exactly these names.

    Raises:
        NotFound: there is none.
    """
    folder = home / "runs" / experiment / run_id
    if not is_name(experiment) or not is_name(run_id) or not (folder / "run.json").is_file():
        raise NotFound(f"there is no run {experiment}/{run_id}; it may have been deleted")
    return load_folder(folder)


def is_name(text: str) -> bool:
    """Whether `text` can be one folder's name: not a path, not a hidden or temporary one."""
    return bool(text) and "/" not in text and "\0" not in text and not text.startswith(".")


def whole_number(request: Request, name: str) -> int:
    """The query's field `name`.

    Raises:
        InputError: it is no whole number.
    """
    text = request.query_params.get(name, "")
    if not text.isdecimal() or len(text) > 15:
        raise InputError(f"{name}={text!r} must be a whole number, the byte where a part of the log begins or ends")
    return int(text)


def _page(request: Request, run: RunRecord, template: str, **context: Any) -> Response:
    canceling = cancel_requested(run)
    return render(request, template, run=run, document=run.document, canceling=canceling, **context)


def listed(run: RunRecord, below: str = "") -> list[tuple[ChildRun, list[ChildRun]]]:
    """The child runs of `run` (of its child `below`), each with the line of children that leads to it."""
    children = child_runs(run)
    lines = [(child, line_of(children, child)) for child in children.values()]
    if not below:
        return lines
    return [(child, line[at + 1 :]) for child, line in lines for at, each in enumerate(line[:-1]) if each.id == below]


def for_people(path: str) -> str:
    """A path whose bytes need not be UTF-8, as text."""
    return os.fsencode(path).decode(errors="replace")


def _log_names(run: RunRecord) -> list[str]:
    """The run's logs, the script's own first."""
    found = {path.name for path in run.folder.iterdir() if path.name.endswith("_log.txt") and path.is_file()}
    return sorted(found, key=lambda name: (name != DRIVER_LOG, name))


def _log_name(request: Request, run: RunRecord) -> str:
    name = request.query_params.get("file", DRIVER_LOG)
    if name not in _log_names(run):
        raise NotFound(f"{run.run_id} has no log {name!r}")
    return name


def _snapshot(run: RunRecord) -> list[dict[str, Any]]:
    """The files of the run's snapshot; of entries that say no sha256 nothing is kept."""
    try:
        listing = orjson.loads((run.folder / "snapshot.json").read_bytes())
        return [entry for entry in listing if _SHA256.fullmatch(entry["sha256"])]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def readable(file: BinaryIO) -> str | None:
    """The beginning of a text; `None` for what is no text."""
    data = file.read(MOST_SHOWN)
    if b"\0" in data:
        return None
    return logs.plain_text(data)


def _cursor(request: Request) -> dict[str, int]:
    try:
        cursor = orjson.loads(request.query_params["since"])
        return {str(name): int(place) for name, place in cursor.items()}
    except (ValueError, TypeError, AttributeError):
        raise InputError("since= must be the cursor that the page was given; load the page again") from None


_RUN = "/runs/{experiment}/{run_id}"

ROUTES = [
    Route(_RUN, overview, name="run"),
    Route(f"{_RUN}/logs", log_page, name="run_logs"),
    Route(f"{_RUN}/logs/window", log_window, name="run_log_window"),
    Route(f"{_RUN}/logs/file", log_file, name="run_log_file"),
    Route(f"{_RUN}/outputs", outputs, name="run_outputs"),
    Route(f"{_RUN}/output", output_file, name="run_output"),
    Route(f"{_RUN}/image", logged_image, name="run_image"),
    Route(f"{_RUN}/snapshot", snapshot_page, name="run_snapshot"),
    Route(f"{_RUN}/record", record_page, name="run_record"),
    Route(f"{_RUN}/metrics", metrics, name="run_metrics"),
    Route(f"{_RUN}/events", events, name="run_events"),
    form_route(f"{_RUN}/tags", tag, name="run_tag"),
]
