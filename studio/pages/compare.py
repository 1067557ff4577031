"""Many runs, one metric: their curves over one another, their parameters beside one another."""

from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from envbuild.errors import InputError
from envbuild.studio.charts import smooth
from envbuild.studio.render import json_response, render
from envbuild.studio.shelf import Shelf
from envbuild.studio.streams import END, Event, stream
from envbuild.trainer.metrics import Series, read_run
from envbuild.trainer.metrics.sampling import sample
from envbuild.trainer.run import RunRecord, load_folder

from .runs import Query, chosen_runs, find_runs

MOST_RUNS = 1000
"""Runs that one comparison holds."""

AXES = ("step", "relative", "wall")

_POINTS = 60_000
"""Points that are sent for all curves together."""

_ASKED_FOR_NAMES = 24
"""Runs that are asked for the names of their metrics."""


def compare(request: Request) -> Response:
    """The page; its curves come by `series`."""
    runs = _runs(request)
    names = _metric_names(request, runs)
    chosen = request.query_params.get("metric", "")
    return render(
        request,
        "compare.html",
        runs=runs,
        names=names,
        metric=chosen if chosen in names else _likely(names),
        parameters=_parameters(runs),
        axes=AXES,
    )


def series(request: Request) -> Response:
    """`{"curves": [{"run", "x", "y", "count", "last", "min", "max"}]}` of the metric, smoothed and thinned."""
    runs = _runs(request)
    metric = request.query_params.get("metric", "")
    weight = _weight(request.query_params.get("smoothing", "0"))
    axis = request.query_params.get("axis", "step")
    if axis not in AXES:
        raise InputError(f"axis={axis!r} is none of {', '.join(AXES)}")
    limit = max(64, min(2000, _POINTS // len(runs)))
    shelf = shelf_of(request)
    curves = []
    for run in runs:
        found = shelf.curve(run.folder, metric)
        if found is not None and len(found):
            curves.append({"run": f"{run.experiment}/{run.run_id}", **drawn(found, axis, weight, limit)})
    return json_response({"curves": curves})


def drawn(series: Series, axis: str, weight: float, limit: int) -> dict[str, Any]:
    """What is drawn of `series`: smoothed over every point first, then thinned to `limit`, so that no spike is lost."""
    values = smooth(series.values, weight) if weight else series.values
    kept = sample(values, limit)
    begin = series.times[0]
    if axis == "step":
        x: list[float] = [series.steps[at] for at in kept]
    elif axis == "relative":
        x = [round(series.times[at] - begin, 3) for at in kept]
    else:
        x = [round(series.times[at] * 1000) for at in kept]
    return {
        "x": x,
        "y": [values[at] for at in kept],
        "count": len(series),
        "last": series.values[-1],
        "min": series.best("min"),
        "max": series.best("max"),
    }


def events(request: Request) -> Response:
    """Says when one of the runs has logged more."""
    active = [run for run in _runs(request) if not run.is_final]
    seen = [_grown(run) for run in active]

    def look() -> Iterator[Event]:
        nonlocal active, seen
        now = [_grown(run) for run in active]
        if now != seen:
            yield Event("refresh", None)
        active = [run for run in active if not load_folder(run.folder).is_final]
        seen = [_grown(run) for run in active]
        if not active:
            yield END

    return stream(request, look, poll=1.0)


def shelf_of(request: Request) -> Shelf:
    """The application's shelf."""
    shelf = request.app.state.shelf
    assert isinstance(shelf, Shelf)
    return shelf


def _runs(request: Request) -> list[RunRecord]:
    """The runs that are named, or else all that the list's filters let through.

    Raises:
        InputError: none, or too many.
    """
    home, named = request.app.state.home, request.query_params.getlist("run")
    runs = chosen_runs(home, named) if named else find_runs(home, Query.of(request))
    if not runs:
        raise InputError("there is no run to compare; choose other filters in the list of runs")
    if len(runs) > MOST_RUNS:
        raise InputError(f"{len(runs)} runs are more than the {MOST_RUNS} that one comparison holds; filter the list")
    return runs


def _metric_names(request: Request, runs: list[RunRecord]) -> list[str]:
    """The names of the metrics of the runs, of many runs of a part that is spread over them."""
    asked = runs[:: max(1, len(runs) // _ASKED_FOR_NAMES)][: _ASKED_FOR_NAMES + 1]
    return sorted({name for run in asked for name in read_run(run.folder).names()})


def _likely(names: list[str]) -> str:
    """The metric that one looks at first."""
    for wanted in ("loss", "train_loss", "val_loss", "accuracy"):
        if wanted in names:
            return wanted
    return names[0] if names else ""


def _parameters(runs: list[RunRecord]) -> list[str]:
    """The parameters as columns: those whose values differ first."""
    names = dict.fromkeys(name for run in runs for name in run.parameters)
    values = {name: {str(run.parameters.get(name)) for run in runs} for name in names}
    return sorted(names, key=lambda name: (len(values[name]) < 2, name))


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 <= weight < 1:
        raise InputError(f"smoothing={text!r} must be a number from 0 to below 1")
    return weight


def _grown(run: RunRecord) -> int:
    try:
        return run.metrics_file.stat().st_size
    except OSError:
        return 0


ROUTES = [
    Route("/compare", compare, name="compare"),
    Route("/compare/series", series, name="compare_series"),
    Route("/compare/events", events, name="compare_events"),
]
