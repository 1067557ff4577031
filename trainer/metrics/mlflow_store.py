"""Reads what an unedited MLflow script logs: MLflow's own plain files, without MLflow.

    mlflow/mlruns/EXPERIMENT/RUN/meta.yaml               status, start_time
                                 metrics/NAME            one point a line: milliseconds since 1970, value, step
                                 params/NAME  tags/NAME  the value
                                 artifacts/

The first run that is no child of another one is the job's run itself; every other one counts as a child run. Points are
read from where the last reading stopped; the rest is small and read anew each time.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..run_files import files_inside, folders_inside, open_inside
from . import RunMetrics, SeriesKey, moment, step_of
from .growing_file import new_lines

FOLDER = "mlflow/mlruns"

_STATUS = {"3": "Completed", "4": "Failed", "5": "Canceled"}
"""MLflow's RunStatus as its files have it; the others are not final."""

_LARGEST = 1 << 16
"""Bytes read of a parameter, tag or meta.yaml; MLflow allows 8,000 characters."""

_OWN = "mlflow."
"""How the tags begin that MLflow sets itself: the user's name, the script's path, ..."""


@dataclass(frozen=True)
class _Run:
    path: str
    """Below the run's folder."""
    id: str
    started: int
    """Milliseconds since 1970."""
    ended: float | None
    """Seconds since 1970."""
    status: str
    tags: dict[str, str]

    @property
    def parent(self) -> str | None:
        return self.tags.get("mlflow.parentRunId")


def read_mlflow(folder: Path, found: RunMetrics, only: Collection[str] | None = None) -> None:
    """Add what the store in `folder` holds beyond `found.cursor`, and move the cursor."""
    for run, own, parent in _placed(folder):
        _read_points(folder, run, own, found, only)
        if only is None:
            _add_notes(folder, run, own, parent, found)


def read_mlflow_notes(folder: Path, found: RunMetrics) -> None:
    """As `read_mlflow`, without the points."""
    for run, own, parent in _placed(folder):
        _add_notes(folder, run, own, parent, found)


def _placed(folder: Path) -> Iterator[tuple[_Run, str, str]]:
    """Every run, with what it counts as (a child's id; "" for the job's own run) and its parent's id."""
    runs = sorted(_runs(folder), key=lambda run: (run.parent is not None, run.started, run.id))
    known: dict[str, str] = {}
    for run in runs:
        parent = known.get(run.parent or "", "")  # only of what began before: no run is its own ancestor
        known[run.id] = run.id if known else ""
        yield run, known[run.id], parent


def _add_notes(folder: Path, run: _Run, own: str, parent: str, found: RunMetrics) -> None:
    notes = found.notes_of(own)
    notes.status = _STATUS.get(run.status, "")
    notes.tags.update({name: value for name, value in run.tags.items() if not name.startswith(_OWN)})
    notes.parameters.update(_texts(folder, f"{run.path}/params"))
    notes.artifacts = tuple(files_inside(folder, f"{run.path}/artifacts"))
    if own:
        notes.name, notes.parent = run.tags.get("mlflow.runName", ""), parent
        notes.began, notes.ended = run.started / 1000, run.ended


def _runs(folder: Path) -> Iterator[_Run]:
    for experiment in folders_inside(folder, FOLDER):
        for path in folders_inside(folder, experiment):
            meta = _text(folder, f"{path}/meta.yaml")
            started = re.search(r"^start_time: (\d{1,14})$", meta, re.MULTILINE)
            if started:
                ended = re.search(r"^end_time: (\d{1,14})$", meta, re.MULTILINE)
                status = re.search(r"^status: (\d)$", meta, re.MULTILINE)
                yield _Run(
                    path=path,
                    id=path.rpartition("/")[2],
                    started=int(started[1]),
                    ended=int(ended[1]) / 1000 if ended else None,
                    status=status[1] if status else "",
                    tags=dict(_texts(folder, f"{path}/tags")),
                )


def _read_points(folder: Path, run: _Run, own: str, found: RunMetrics, only: Collection[str] | None) -> None:
    metrics = f"{run.path}/metrics"
    for path in files_inside(folder, metrics):
        name = path[len(metrics) + 1 :]
        if only is not None and name not in only:
            continue
        for lines in new_lines(folder, path, found):
            _add_points(found, SeriesKey(name, own, source="mlflow"), lines)


def _add_points(found: RunMetrics, key: SeriesKey, lines: bytes) -> None:
    for line in lines.split(b"\n"):
        parts = line.split()
        try:
            step, value = step_of(parts[2]) if len(parts) > 2 else 0, float(parts[1])
            time = moment(int(parts[0]) / 1000)
        except (ValueError, IndexError, OverflowError):
            continue
        found.series_of(key).append([step], [value], [time])


def _texts(folder: Path, path: str) -> Iterator[tuple[str, str]]:
    """Every file below `path` as its name and content."""
    for file in files_inside(folder, path):
        yield file[len(path) + 1 :], _text(folder, file)


def _text(folder: Path, path: str) -> str:
    file = open_inside(folder, path)
    if file is None:
        return ""
    with file:
        return file.read(_LARGEST).decode("utf-8", "replace")
