"""The child runs of a run: what its script said of them, read from its files as they are now.

A child is part of its run: it has metrics, images, tags, files (`children/NAME/`, MLflow's artifacts) and a stretch of
the run's log, but no record, no state of its own beside what the script said, and it ends with the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from envbuild.errors import NotFound

from .metrics import Notes, RunMetrics
from .metrics.lines import read_notes
from .metrics.mlflow_store import read_mlflow_notes
from .run import RunRecord


@dataclass(frozen=True)
class ChildRun:
    """One child of `run`."""

    run: RunRecord
    id: str
    notes: Notes
    images: tuple[str, ...]
    """The images that it logged; paths below the run's folder."""

    @property
    def name(self) -> str:
        """What the script called it, else its id."""
        return self.notes.name or self.id

    @property
    def state(self) -> str:
        """What the script said of its end, else the run's state."""
        return self.notes.status or self.run.state

    @property
    def seconds(self) -> float | None:
        """From its beginning to its end, as far as both were said."""
        began, ended = self.notes.began, self.notes.ended
        return None if began is None or ended is None else ended - began


def child_runs(run: RunRecord) -> Mapping[str, ChildRun]:
    """Every child run in the order in which they began, by id."""
    found = RunMetrics()
    read_notes(run.folder, found)
    read_mlflow_notes(run.folder, found)
    images: dict[str, list[str]] = {}
    for entry in found.entries:
        if entry.kind == "image" and isinstance(entry.value, str):
            images.setdefault(entry.run, []).append(entry.value)
    children = [
        ChildRun(run, child, notes, tuple(images.get(child, ()))) for child, notes in found.notes.items() if child
    ]
    return {child.id: child for child in sorted(children, key=lambda child: child.notes.began or 0)}


def child_run(run: RunRecord, child: str) -> ChildRun:
    """The child run `child`.

    Raises:
        NotFound: the script made none of that id.
    """
    children = child_runs(run)
    if child not in children:
        raise NotFound(f"{run.run_id} has no child run {child!r}")
    return children[child]


def line_of(children: Mapping[str, ChildRun], child: ChildRun) -> list[ChildRun]:
    """The child's parents from the run's own child down to `child` itself."""
    line = [child]
    while (parent := children.get(line[0].notes.parent or "")) is not None and parent not in line:
        line.insert(0, parent)
    return line
