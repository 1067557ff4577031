"""What the commands print: results on standard output, progress and notes on standard error.

On a terminal long work draws a bar; elsewhere (CI, a file) it prints one plain line when it ends.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, Any

import typer

from envbuild.builder.report import Reporter, Task

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def reporter() -> Reporter:
    """The reporter for this standard error: bars on a terminal, plain lines elsewhere."""
    return _Terminal() if sys.stderr.isatty() else _Plain()


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(document, indent=1, sort_keys=True, default=str) + "\n")


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns, aligned, without borders: easy to read and to cut."""
    cells = [list(header), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")


def size(count: float) -> str:
    """Bytes for people: `1.4 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def note(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class _Plain:
    """Plain lines, for logs."""

    def say(self, text: str) -> None:
        note(text)

    def log(self, stage: str, text: str) -> None:
        pass

    @contextmanager
    def task(self, stage: str, total: int | None, unit: str = "B") -> Iterator[Task]:
        begin = time.monotonic()
        counter = _Counter()
        yield counter
        seconds = time.monotonic() - begin
        if seconds >= 0.5:
            amount = size(counter.amount) if unit == "B" else f"{counter.amount} {unit}"
            note(f"{stage}: {amount} in {seconds:.1f} s")


class _Counter:
    def __init__(self) -> None:
        self.amount = 0

    def advance(self, amount: int) -> None:
        self.amount += amount


class _Terminal:
    """Progress bars by rich."""

    def say(self, text: str) -> None:
        note(text)

    def log(self, stage: str, text: str) -> None:
        pass

    def task(self, stage: str, total: int | None, unit: str = "B") -> AbstractContextManager[Task]:
        return _bar(stage, total, unit)


@contextmanager
def _bar(stage: str, total: int | None, unit: str) -> Iterator[Task]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    amount: ProgressColumn = DownloadColumn() if unit == "B" else MofNCompleteColumn()
    columns = (TextColumn("{task.description:<8}"), BarColumn(), amount, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        number = progress.add_task(stage, total=total)

        class _Bar:
            def advance(self, amount: int) -> None:
                progress.advance(number, amount)

        yield _Bar()
