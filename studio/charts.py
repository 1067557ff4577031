"""Metrics in, what a chart draws out: thinned by lowest and highest values, ready for JSON, and only what is new."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from envbuild.trainer.metrics import Cursor, Entry, RunMetrics, Series, Stored, read_run
from envbuild.trainer.metrics.sampling import sample

from .resource_charts import resource_curves

MOST_POINTS = 2000
"""Points of one curve that are sent: more than a screen has pixels across."""

MOST_CURVES = 64
"""Curves of one metric (children, ranks) that are drawn; beyond that a chart says nothing."""

MOST_ENTRIES = 200
"""Rows, lists, tables, ... that a page shows, the last ones."""


MOST_STORED = 200
"""Histograms and pictures (by name) that a page shows."""


def run_metrics(
    folder: Path, since: Cursor | None = None, child: str | None = None, ended: bool = False
) -> dict[str, Any]:
    """`{"cursor", "curves", "entries", "resources", "stored", "problems"}`: what the run logged and used after `since`
    (default: from the beginning). With `child`, only what that child run logged. Files that end in the middle are a
    problem once the run has `ended`.
    """
    cursor = {_path_of(name): place for name, place in (since or {}).items()}
    resources = resource_curves(folder, cursor, MOST_POINTS) if child is None else []
    found = read_run(folder, cursor)
    entries = [entry for entry in found.entries if child in (None, entry.run)]
    return {
        "cursor": {_sent(path): place for path, place in found.cursor.items()},
        "curves": [curve(series, MOST_POINTS, child) for series in _drawn(found, child)],
        "entries": [_entry(entry, child) for entry in entries[-MOST_ENTRIES:]],
        "resources": resources,
        "stored": [_group(group) for group in _groups(found)] if child is None else [],
        "problems": [
            f"{problem.file}: {problem.text}" for problem in found.problems.values() if ended or not problem.unfinished
        ],
    }


def curve(series: Series, limit: int, child: str | None = None) -> dict[str, Any]:
    """One curve: `{"name", "run", "label", "count", "last", "steps", "values", "times"}`; `null`: it is not finite.

    `run` and `label` say whose it is; of the curves of the child run `child` only its ranks need saying.
    """
    kept = sample(series.values, limit)
    return {
        "name": series.key.name,
        "run": "" if series.key.run == child else series.key.run,
        "label": _label(series),
        "count": len(series),
        "last": _finite(series.values[-1]) if series.values else None,
        "steps": [series.steps[at] for at in kept],
        "values": [_finite(series.values[at]) for at in kept],
        "times": [series.times[at] for at in kept],
    }


class Growth:
    """What one run logs and uses after a cursor."""

    def __init__(self, folder: Path, cursor: Cursor, child: str | None = None) -> None:
        self._folder = folder
        self._cursor = cursor
        self._child = child

    def look(self) -> dict[str, Any] | None:
        """As `run_metrics`, of what came since the last look; `None` for nothing."""
        found = run_metrics(self._folder, self._cursor, self._child)
        self._cursor = found["cursor"]
        return found if any(found[part] for part in ("curves", "entries", "resources", "stored")) else None


def smooth(values: Sequence[float], weight: float) -> list[float]:
    """An exponential moving average whose beginning is not drawn to zero (bias-corrected, as in Adam).

    `weight` in [0, 1) is how much of the past stays. What is not finite is passed over and stays as it is.
    """
    smoothed: list[float] = []
    mean, share = 0.0, 0.0
    for value in values:
        if math.isfinite(value):
            mean = mean * weight + (1 - weight) * value
            share = share * weight + (1 - weight)
            value = mean / share
        smoothed.append(value)
    return smoothed


def _sent(path: str) -> str:
    """A path in the cursor, for its way to the browser and back: its bytes need not be UTF-8."""
    return quote(os.fsencode(path))


def _path_of(name: str) -> str:
    return os.fsdecode(unquote_to_bytes(name))


def _drawn(found: RunMetrics, child: str | None) -> list[Series]:
    """The curves that are drawn: of a metric with very many only the first ones."""
    counts: dict[str, int] = {}
    drawn = []
    for key, series in found.series.items():
        if child not in (None, key.run):
            continue
        counts[key.name] = counts.get(key.name, 0) + 1
        if counts[key.name] <= MOST_CURVES:
            drawn.append(series)
    return drawn


def _label(series: Series) -> str:
    """Which of the curves of one name and one run this is; empty for the training command's own."""
    key = series.key
    parts = [] if key.rank is None else [f"rank {key.rank}"]
    parts += [] if key.process is None else [f"process {key.process}"]
    parts += [] if key.source == "run" else [{"mlflow": "MLflow", "tensorboard": "TensorBoard"}[key.source]]
    return ", ".join(filter(None, parts))


def _groups(found: RunMetrics) -> list[list[Stored]]:
    """What is stored of one kind, name and TensorBoard folder."""
    groups: dict[tuple[str, str, str], list[Stored]] = {}
    for stored in found.stored:
        groups.setdefault((stored.kind, stored.run, stored.name), []).append(stored)
    return list(groups.values())[:MOST_STORED]


def _group(group: list[Stored]) -> dict[str, Any]:
    return {"kind": group[0].kind, "name": group[0].name, "run": group[0].run, "count": len(group)}


def _entry(entry: Entry, child: str | None) -> dict[str, Any]:
    return {
        "name": entry.name,
        "run": "" if entry.run == child else entry.run,
        "kind": entry.kind,
        "value": entry.value,
        "step": entry.step,
        "time": entry.time,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
