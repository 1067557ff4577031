"""What the commands print: results on standard output, progress and notes on standard error.

On a terminal long work draws a bar; elsewhere (CI, a file) it prints one plain line when it ends.
"""

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envbuild.builder.report import Reporter, Task
from envbuild.builder.report import size as size  # noqa: PLC0414 (commands take it from here)
from envbuild.errors import InputError

if TYPE_CHECKING:
    from envbuild.trainer.run import RunRecord

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def reporter() -> Reporter:
    """The reporter for this standard error: bars on a terminal, plain lines elsewhere."""
    return _Terminal() if sys.stderr.isatty() else _Plain()


def print_json(document: Any) -> None:
    """One JSON document on standard output, at once: the command may go on, as the studio does."""
    try:
        text = _json(document)
    except ValueError:  # rare, so that not every document is copied
        text = _json(_strict(document))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def confirm(question: str) -> None:
    """Ask, and go on only when the answer is yes.

    Raises:
        InputError: nobody can answer.
        typer.Exit: the answer is no.
    """
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        if sys.stdin.isatty():  # Ctrl-C, Ctrl-D
            raise
        sys.stderr.write("\n")
        raise InputError("nobody answers the question here; say --yes") from None
    if not agreed:
        note("nothing was removed")
        raise typer.Exit(1)


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns, aligned, without borders: easy to read and to cut."""
    cells = [list(header), *[[printable(str(cell)) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")


def printable(text: str) -> str:
    """`text` with what would steer the terminal written as escapes: names come from jobs, packages, registries."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def number(value: float | None) -> str:
    """A measured number for people: four digits; `-` where there is none."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def state(run: "RunRecord") -> str:
    """`Failed: exit code 7`."""
    return f"{run.state}: {run.reason}" if run.reason and run.state != "Canceled" else run.state


def json_number(value: float) -> object:
    """NaN and infinities as texts: JSON has no numbers for them (RFC 8259, section 6)."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _json(document: Any) -> str:
    return json.dumps(document, indent=1, sort_keys=True, default=str, allow_nan=False)


def _strict(document: Any) -> Any:
    """`document` with `json_number` for every number."""
    if isinstance(document, dict):
        return {name: _strict(value) for name, value in document.items()}
    if isinstance(document, list | tuple):
        return [_strict(each) for each in document]
    return json_number(document) if isinstance(document, float) else document


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
            note(f"{stage}: {amount if counter.amount else 'done'} in {seconds:.1f} s")


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
