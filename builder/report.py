"""How long work tells about itself, without knowing who listens.

Every stage of a build takes a `Reporter`. The command line passes one that draws progress bars on a terminal and
prints plain lines elsewhere; the build log is one that writes to a file and passes everything on.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of work with a known or unknown size."""

    def advance(self, amount: int) -> None:
        """Say that `amount` more units (bytes, packages) are done. May be called from several threads."""


class Reporter(Protocol):
    """Receives what a stage has to say."""

    def say(self, text: str) -> None:
        """Tell the user one line that is worth reading now."""

    def log(self, stage: str, text: str) -> None:
        """Write one line to the build log only."""

    def task(self, stage: str, total: int | None, unit: str = "B") -> AbstractContextManager[Task]:
        """Announce work of `total` units (`None` when unknown); `unit` is `B` for bytes or a plural noun."""


def size(count: float) -> str:
    """Bytes for people: `1.4 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


class _NoTask:
    def advance(self, amount: int) -> None:
        pass


class Silent:
    """A reporter for callers that want none."""

    def say(self, text: str) -> None:
        pass

    def log(self, stage: str, text: str) -> None:
        pass

    @contextmanager
    def task(self, stage: str, total: int | None, unit: str = "B") -> Iterator[Task]:
        yield _NoTask()
