"""The list of runs: filtered, in pages, live; and the way to compare or delete several."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from envbuild.errors import InputError
from envbuild.studio.render import render
from envbuild.studio.security import Form, form_route
from envbuild.studio.streams import Event, stream
from envbuild.trainer.run import FINAL, RUNNING, RunRecord, list_runs, remove_run, run_folders
from envbuild.trainer.selection import Selection, parse_tag, select_runs

from .run import find_run

PER_PAGE = 100


@dataclass(frozen=True)
class Query:
    """What the list is asked for."""

    experiment: str
    state: str
    tag: str
    text: str
    page: int

    @classmethod
    def of(cls, request: Request) -> "Query":
        values = request.query_params
        page = values.get("page", "1")
        return cls(
            experiment=values.get("experiment", ""),
            state=values.get("state", ""),
            tag=values.get("tag", "").strip(),
            text=values.get("q", "").strip(),
            page=max(1, int(page)) if page.isdecimal() and len(page) < 10 else 1,
        )

    def selection(self) -> Selection:
        """All that is asked but the text."""
        return Selection(
            experiment=self.experiment or None,
            states=(self.state,) if self.state else (),
            tags=(parse_tag(self.tag),) if self.tag else (),
        )

    def at(self, page: int) -> str:
        """The query string of another page of the same list."""
        fields = {
            "experiment": self.experiment, "state": self.state, "tag": self.tag, "q": self.text,
            "page": page if page > 1 else "",
        }  # fmt: skip
        return urlencode({name: value for name, value in fields.items() if value})


def page_of_runs(request: Request) -> Response:
    """The list."""
    query = Query.of(request)
    home: Path = request.app.state.home
    found = find_runs(home, query)
    pages = max(1, -(-len(found) // PER_PAGE))
    page = min(query.page, pages)
    counts = {state: sum(1 for run in found if run.state == state) for state in (*RUNNING, *FINAL)}
    return render(
        request,
        "runs.html",
        query=query,
        runs=found[(page - 1) * PER_PAGE : page * PER_PAGE],
        found=len(found),
        page=page,
        pages=pages,
        counts={state: count for state, count in counts.items() if count},
        experiments=sorted({folder.parent.name for folder in run_folders(home)}),
        states=(*RUNNING, *FINAL),
    )


def events_of_runs(request: Request) -> Response:
    """Says when the list may look different: a run came, went, or changed its state."""
    home: Path = request.app.state.home
    watched = [run for run in list_runs(home) if not run.is_final]
    seen = _appearance(home, watched)

    def look() -> Iterator[Event]:
        nonlocal watched, seen
        if _appearance(home, watched) != seen:
            watched = [run for run in list_runs(home) if not run.is_final]
            seen = _appearance(home, watched)
            yield Event("refresh", None)

    return stream(request, look, poll=0.5)


def confirm_delete(request: Request) -> Response:
    """Asks once more before runs are deleted."""
    runs = chosen_runs(request.app.state.home, request.query_params.getlist("run"))
    return render(request, "delete.html", runs=runs, active=[run for run in runs if not run.is_final])


def delete(request: Request, form: Form) -> Response:
    """Deletes the runs of the form, or none when one of them has not ended."""
    runs = chosen_runs(request.app.state.home, form.get("run", ()))
    for run in runs:
        if not run.is_final:
            raise InputError(f"{run.experiment}/{run.run_id} is {run.state}: cancel it before you delete it")
    for run in runs:
        remove_run(run)
    return RedirectResponse(request.app.url_path_for("runs"), status_code=303)


def find_runs(home: Path, query: Query) -> list[RunRecord]:
    """Every run that the query lets through, newest first."""
    text = query.text.casefold()
    return [run for run in select_runs(home, query.selection()) if text in _searched(run)]


def chosen_runs(home: Path, references: Sequence[str]) -> list[RunRecord]:
    """The runs `EXPERIMENT/ID`, in the order given.

    Raises:
        InputError: none is chosen.
        NotFound: one does not exist.
    """
    if not references:
        raise InputError("no run is chosen; tick some in the list of runs first")
    return [find_run(home, *reference.partition("/")[::2]) for reference in dict.fromkeys(references)]


def _searched(run: RunRecord) -> str:
    document = run.document
    words = (run.run_id, run.experiment, document.get("script", ""), *document.get("arguments", ()))
    return " ".join(map(str, words)).casefold()


def _appearance(home: Path, watched: Sequence[RunRecord]) -> tuple[int | None, ...]:
    """Changes when an experiment gets or loses a run, or the record of a `watched` run is written."""
    folders = sorted((home / "runs").glob("*/"))
    return tuple(_changed(path) for path in (*folders, *(run.folder / "run.json" for run in watched)))


def _changed(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


ROUTES = [
    Route("/runs", page_of_runs, name="runs"),
    Route("/runs/events", events_of_runs, name="runs_events"),
    Route("/runs/delete", confirm_delete, name="confirm_delete"),
    form_route("/runs/delete", delete, name="delete"),
]
