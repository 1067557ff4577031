"""A run's folder in, what was logged in it out: one model for every reader, whoever wrote the files.

    metrics.jsonl               `run.log` and its kin, one JSON object a line      lines.py
    mlflow/mlruns/              unedited MLflow scripts, in MLflow's own files     mlflow_store.py
    outputs/ and tensorboard/   TensorBoard's event files                          event_files.py, event_values.py

Reading goes on where it stopped: `read_run` returns a cursor, and given that cursor it returns only what was written
since. Everything read here was written by a job and is hostile until checked: a damaged piece is passed over, a link is
never followed, and the rest is still read.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

Source = Literal["run", "mlflow", "tensorboard"]


_FIRST_MOMENT, _LAST_MOMENT = -62135596800, 253402300799
"""Seconds since 1970 at which a date can be shown: of the years 1 to 9999."""
LAST_STEP = (1 << 63) - 1


class SeriesKey(NamedTuple):
    """Which numbers belong on one curve: those of one name from one writer."""

    name: str
    run: str = ""
    """The child run, or TensorBoard's folder; empty for the run itself."""
    rank: int | None = None
    """`RANK` of a distributed job's process."""
    process: int | None = None
    """Process id (inside the job) of a process without a rank that is not the training command itself."""
    source: Source = "run"

    def writer(self) -> list[str]:
        """`rank 1` or `process 17`, as far as that is not the training command itself."""
        rank = [f"rank {self.rank}"] if self.rank is not None else []
        return [*rank, f"process {self.process}"] if self.process is not None else rank


@dataclass
class Series:
    """The numbers of one curve, in the order written: three columns of equal length."""

    key: SeriesKey
    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    """May hold NaN and infinities."""
    times: list[float] = field(default_factory=list)
    """Seconds since 1970."""

    def __len__(self) -> int:
        return len(self.values)

    def append(self, steps: Iterable[int], values: Iterable[float], times: Iterable[float]) -> None:
        """Add points; the three are of equal length."""
        self.steps.extend(steps)
        self.values.extend(values)
        self.times.extend(times)

    def best(self, mode: Literal["min", "max"]) -> float | None:
        """The lowest or highest finite value; `None` when there is none."""
        all_finite = all(map(math.isfinite, self.values))
        finite = self.values if all_finite else [value for value in self.values if math.isfinite(value)]
        return (min(finite) if mode == "min" else max(finite)) if finite else None


@dataclass(frozen=True)
class Entry:
    """Something logged that is no number: a list, row, table, image, text, confusion matrix, ..."""

    name: str
    kind: str
    value: Any
    """As JSON has it; of an image, its path below the run's folder."""
    time: float
    step: int | None = None
    run: str = ""
    rank: int | None = None
    process: int | None = None


class Stored(NamedTuple):
    """A histogram or pictures in an event file: too large to be read before somebody looks (`read_stored`)."""

    name: str
    kind: Literal["histogram", "image"]
    time: float
    step: int
    run: str
    """TensorBoard's folder."""
    file: str
    """Relative to the run's folder."""
    position: int
    """Where in it the record begins."""
    value: int
    """Which of the record's values it is."""


class Problem(NamedTuple):
    """What could not be read of a file, in a sentence."""

    file: str
    """Relative to the run's folder."""
    text: str
    unfinished: bool = False
    """The file ends in the middle: as long as the run is on, its writer may be about to go on."""


@dataclass
class Notes:
    """What is known of the run itself (id "") or of a child beside its metrics."""

    parent: str | None = None
    """The id of the run that this is a child of; "" for the run itself, `None` for no child."""
    name: str = ""
    status: str = ""
    """What the script said: Completed, Failed or Canceled; empty when it said nothing."""
    error: str = ""
    """Why it failed, as the script said."""
    began: float | None = None
    """Seconds since 1970, as `ended`; `None` when nothing was said."""
    ended: float | None = None
    log_begin: int | None = None
    """Bytes of the run's log when the child began, as `log_end` when it ended; `None` where the job cannot know."""
    log_end: int | None = None
    files: str = ""
    """The folder of a child's own files, relative to the run's."""
    parameters: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    artifacts: tuple[str, ...] = ()
    """Files that MLflow keeps for this run, relative to the run's folder."""


Cursor = Mapping[str, int]
"""Up to where each file was read: path below the run's folder -> bytes. JSON can carry it."""


@dataclass
class RunMetrics:
    """Everything that one run logged, or what it logged since a cursor."""

    series: dict[SeriesKey, Series] = field(default_factory=dict)
    """In the order in which they first appear."""
    entries: list[Entry] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    problems: dict[str, Problem] = field(default_factory=dict)
    """By file, the first one of each: one says that a file is not whole."""
    notes: dict[str, Notes] = field(default_factory=dict)
    """By the id of the child; "" is the run itself."""
    cursor: dict[str, int] = field(default_factory=dict)

    def names(self) -> list[str]:
        """The metrics' names, each once."""
        return list(dict.fromkeys(key.name for key in self.series))

    def of(self, name: str) -> Iterator[Series]:
        """Every curve of the metric `name`."""
        return (series for key, series in self.series.items() if key.name == name)

    def main(self, name: str, run: str | None = None) -> Series | None:
        """The curve that stands for the metric `name`: the training command's own first, then the lowest rank, then
        other processes, then child runs. With `run`, only curves of that child ("": of the run itself and of
        TensorBoard's folders).
        """
        curves = (each for each in self.of(name) if run is None or self._belongs(each.key, run))
        return min(curves, key=lambda series: _standing(series.key), default=None)

    def _belongs(self, key: SeriesKey, run: str) -> bool:
        return key.run == run or (not run and key.source == "tensorboard")

    def series_of(self, key: SeriesKey) -> Series:
        """The curve `key`, a new one when there was none yet."""
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = Series(key)
        return series

    def note(self, problem: Problem) -> None:
        """Remember that something could not be read."""
        self.problems.setdefault(problem.file, problem)

    def notes_of(self, run: str) -> Notes:
        """The notes of `run`, empty ones when there were none yet."""
        return self.notes.setdefault(run, Notes())

    def extend(self, more: "RunMetrics") -> None:
        """Add what was read later, from this one's cursor on."""
        for key, series in more.series.items():
            self.series_of(key).append(series.steps, series.values, series.times)
        self.entries += more.entries
        self.stored += more.stored
        self.problems.update({file: problem for file, problem in more.problems.items() if file not in self.problems})
        for run, notes in more.notes.items():
            own_notes = self.notes_of(run)
            own_notes.parent = notes.parent if notes.parent is not None else own_notes.parent
            own_notes.name = notes.name or own_notes.name
            own_notes.status = notes.status or own_notes.status
            own_notes.error = notes.error or own_notes.error
            own_notes.files = notes.files or own_notes.files
            own_notes.began = notes.began if notes.began is not None else own_notes.began
            own_notes.ended = notes.ended if notes.ended is not None else own_notes.ended
            own_notes.log_begin = notes.log_begin if notes.log_begin is not None else own_notes.log_begin
            own_notes.log_end = notes.log_end if notes.log_end is not None else own_notes.log_end
            own_notes.parameters.update(notes.parameters)
            own_notes.tags.update(notes.tags)
            own_notes.properties.update(notes.properties)
            own_notes.artifacts = notes.artifacts or own_notes.artifacts
        self.cursor = dict(more.cursor)


def read_run(folder: Path, since: Cursor | None = None, only: Collection[str] | None = None) -> RunMetrics:
    """What the run in `folder` logged after `since` (default: from the beginning).

    `only` names the metrics that are wanted; then nothing else is returned, and the rest costs little to pass over.
    A line or record that is still being written is left for the next call. Never raises for what a job wrote.
    """
    from .event_files import read_event_files
    from .lines import read_lines
    from .mlflow_store import read_mlflow

    found = RunMetrics(cursor=dict(since or {}))
    for read in (read_lines, read_mlflow, read_event_files):
        read(folder, found, only)
    return found


def moment(seconds: Any) -> float:
    """`seconds` since 1970, when that is a time that can be shown.

    Raises:
        ValueError, TypeError, OverflowError: it is none.
    """
    if not is_moment(float(seconds)):
        raise ValueError(f"{seconds} is no time")
    return float(seconds)


def is_moment(seconds: float) -> bool:
    """Whether `seconds` since 1970 can be shown as a date; NaN cannot."""
    return _FIRST_MOMENT <= seconds <= _LAST_MOMENT


def step_of(number: Any) -> int:
    """`number` as a step, a whole number of 64 bits: nothing that reads or exports metrics has larger ones.

    Raises:
        ValueError, TypeError, OverflowError: it is none.
    """
    step = int(number)
    if not -LAST_STEP <= step <= LAST_STEP:
        raise ValueError(f"a step of {step.bit_length()} bits")
    return step


def _standing(key: SeriesKey) -> tuple[bool, int, int, str]:
    return bool(key.run), key.process or 0, -1 if key.rank is None else key.rank, key.source
