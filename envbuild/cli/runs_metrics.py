"""`envbuild runs metrics RUN`"""

import difflib
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envbuild.errors import NotFound
from envbuild.settings import load_settings

from . import output
from .runs import Run

if TYPE_CHECKING:
    from envbuild.trainer.metrics import Entry, RunMetrics, SeriesKey, Stored


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild runs metrics last --name loss")(metrics)


def metrics(
    run: Run,
    name: Annotated[list[str] | None, typer.Option(help="Only this metric; may be given again.")] = None,
    as_json: output.Json = False,
) -> None:
    """Print what a run has logged: numbers first, then lists, tables, images and the rest."""
    from envbuild.trainer.metrics import read_run
    from envbuild.trainer.run import load_run

    record = load_run(load_settings().home, run)
    found = read_run(record.folder)
    for each in name or ():
        _expect(each, found, record.run_id)
    if as_json:
        output.print_json({"run_id": record.run_id, **_document(found, name)})
        return
    series = [each for each in found.series.values() if not name or each.key.name in name]
    entries = [entry for entry in found.entries if not name or entry.name in name]
    rows = [(entry.kind, entry.name, _shown(entry)) for entry in entries]
    rows += _stored_rows([each for each in found.stored if not name or each.name in name])
    for problem in found.problems.values():
        if record.is_final or not problem.unfinished:
            output.note(output.printable(f"{problem.file}: {problem.text}"))
    if not series and not rows:
        output.note(f"{record.run_id} has logged no metrics")
        return
    if series:
        output.print_table(
            ("METRIC", "POINTS", "FIRST", "LAST", "LOWEST", "HIGHEST"),
            [
                (
                    _label(each.key), len(each), output.number(each.values[0]), output.number(each.values[-1]),
                    output.number(each.best("min")), output.number(each.best("max")),
                )
                for each in series
            ],
        )  # fmt: skip
    if series and rows:
        typer.echo("")
    if rows:
        output.print_table(("KIND", "NAME", "VALUE"), rows)


def _stored_rows(stored: "list[Stored]") -> list[tuple[str, str, str]]:
    """A line for each histogram and picture of TensorBoard, however many steps it has."""
    counts = Counter((each.kind, each.name, each.run, each.file) for each in stored)
    return [
        (kind, f"{name} ({run})" if run else name, f"{count} step{'s' if count != 1 else ''} in {file}")
        for (kind, name, run, file), count in counts.items()
    ]


def _expect(name: str, found: "RunMetrics", run_id: str) -> None:
    others = [*(entry.name for entry in found.entries), *(each.name for each in found.stored)]
    known = list(dict.fromkeys([*found.names(), *others]))
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"
        raise NotFound(f"{run_id} has no metric called {name!r}; {hint}")


def _document(found: "RunMetrics", only: list[str] | None) -> dict[str, Any]:
    metrics: dict[str, list[dict[str, Any]]] = {}
    for key, series in found.series.items():
        if not only or key.name in only:
            writer = _writer(key)
            metrics.setdefault(key.name, []).extend(
                {"step": step, "value": output.json_number(value), "time": time, **writer}
                for step, value, time in zip(series.steps, series.values, series.times, strict=True)
            )
    return {
        "metrics": metrics,
        "other": [
            {"name": entry.name, "kind": entry.kind, "value": entry.value, "time": entry.time, **_writer(entry)}
            for entry in found.entries
            if not only or entry.name in only
        ],
        "stored": [each._asdict() for each in found.stored if not only or each.name in only],
        "problems": [problem._asdict() for problem in found.problems.values()],
        "notes": {run: vars(notes) for run, notes in found.notes.items()},
    }


def _writer(of: "SeriesKey | Entry") -> dict[str, Any]:
    """Who wrote it, as far as that is not the run itself."""
    known = {name: getattr(of, name, None) for name in ("run", "rank", "process", "source")}
    return {name: value for name, value in known.items() if value not in (None, "", "run")}


def _label(key: "SeriesKey") -> str:
    words = [*([key.run] if key.run else []), *key.writer()]
    return f"{key.name} ({', '.join(words)})" if words else key.name


def _shown(entry: "Entry", width: int = 60) -> str:
    text = str(entry.value)
    return text if len(text) <= width else f"{text[: width - 3]}..."
