"""Runs in, one row for each out: parameters, and of every metric the last value, the best one and the curve.

Which value is the best one depends on the metric: the lowest of a loss, the highest of an accuracy. Where the user does
not say it, the name decides (`best_is`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from envbuild.errors import InputError

from .metrics import RunMetrics, Series, read_run
from .run import RunRecord

Mode = Literal["min", "max"]

_HIGHER_IS_BETTER = re.compile(
    r"(^|[^a-z])(acc|accuracy|precision|recall|f1|auc|auroc|map|miou|iou|dice|bleu|rouge|r2|score|reward|psnr|ssim)"
    r"([^a-z]|$)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Result:
    """What one run reached in one metric."""

    points: int
    last: float
    best: float | None
    """`None` when no value is finite."""
    best_step: int | None
    curve: Series


@dataclass(frozen=True)
class Row:
    """One run, or one child run, of a comparison."""

    run_id: str
    """Of a child run `RUN/CHILD`."""
    experiment: str
    state: str
    parameters: Mapping[str, Any]
    results: Mapping[str, Result]


@dataclass(frozen=True)
class Comparison:
    """Several runs side by side."""

    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    """The names, those that most runs have first."""
    modes: Mapping[str, Mode]

    def parameters(self) -> tuple[tuple[str, ...], Mapping[str, Any]]:
        """The names of the parameters that differ, and those with one value in every run."""
        names = dict.fromkeys(name for row in self.rows for name in row.parameters)
        same = {
            name: self.rows[0].parameters[name]
            for name in names
            if all(name in row.parameters for row in self.rows)
            and all(row.parameters[name] == self.rows[0].parameters[name] for row in self.rows)
        }
        return tuple(name for name in names if name not in same), same


def compare_runs(
    runs: Iterable[RunRecord], metrics: Sequence[str] = (), mode: Mode | None = None, children: bool = False
) -> Comparison:
    """Read `runs` and put them side by side, the best in the first metric first.

    `metrics` are the names to compare (default: all). With `children`, each child run has a row of its own.
    """
    rows = [row for run in runs for row in _rows(run, metrics, mode, children)]
    counts: dict[str, int] = dict.fromkeys(metrics, 0)
    for row in rows:
        for name in row.results:
            counts[name] = counts.get(name, 0) + 1
    names = tuple(metrics) or tuple(sorted(counts, key=lambda name: -counts[name]))
    modes = {name: mode or best_is(name) for name in names}
    if names:
        rows.sort(key=lambda row: _standing(row.results.get(names[0]), modes[names[0]]))
    return Comparison(tuple(rows), names, modes)


def parse_mode(text: str) -> Mode:
    """Read `min` or `max`.

    Raises:
        InputError: it is neither.
    """
    modes: dict[str, Mode] = {"min": "min", "max": "max"}
    if text not in modes:
        raise InputError(f"--mode {text!r} is not known; write min or max")
    return modes[text]


def best_is(name: str) -> Mode:
    """Whether the lowest or the highest value of the metric `name` is the best one, by its name."""
    return "max" if _HIGHER_IS_BETTER.search(name) else "min"


def _rows(run: RunRecord, metrics: Sequence[str], mode: Mode | None, children: bool) -> Iterable[Row]:
    found = read_run(run.folder)
    own = found.notes.get("")
    parameters = {**run.parameters, **(own.parameters if own else {})}
    yield Row(run.run_id, run.experiment, run.state, parameters, _results(found, "", metrics, mode))
    for child, notes in found.notes.items() if children else ():
        if child:
            of_child = {**parameters, **notes.parameters, **notes.tags}
            label = f"{run.run_id}/{notes.name or child}"
            yield Row(label, run.experiment, notes.status or run.state, of_child, _results(found, child, metrics, mode))


def _results(found: RunMetrics, child: str, metrics: Sequence[str], mode: Mode | None) -> dict[str, Result]:
    results = {}
    for name in found.names():
        if metrics and name not in metrics:
            continue
        series = found.main(name, child)
        if series is not None and len(series):
            best = series.best(mode or best_is(name))
            step = None if best is None else series.steps[series.values.index(best)]
            results[name] = Result(len(series), series.values[-1], best, step, series)
    return results


def _standing(result: Result | None, mode: Mode) -> tuple[bool, float]:
    if result is None or result.best is None:
        return True, 0.0
    return False, result.best if mode == "min" else -result.best
