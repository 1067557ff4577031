"""`envbuild runs compare RUN...`"""

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envbuild.errors import NotFound
from envbuild.settings import load_settings

from . import output

if TYPE_CHECKING:
    from envbuild.trainer.compare import Comparison, Result
    from envbuild.trainer.metrics import Series

_SHOWN = 3
"""Metrics that fit beside each other when none is named."""

_WIDTH = 16
"""Characters of a curve."""

_BARS, _PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-=+*%#"


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild runs compare last 20261124-1614 --metric loss")(compare)


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids, beginnings of ids, or `last`.")],
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric; may be given again.")] = None,
    mode: Annotated[
        str | None, typer.Option(metavar="min|max", help="Which value is the best one; default: by the metric's name.")
    ] = None,
    children: Annotated[bool, typer.Option("--children", help="A row for each child run too.")] = False,
    as_json: output.Json = False,
) -> None:
    """Put runs side by side: parameters, last and best values, curves; the best in the first metric comes first."""
    from envbuild.trainer.compare import compare_runs, parse_mode
    from envbuild.trainer.run import load_run

    best = parse_mode(mode) if mode else None
    home = load_settings().home
    records = {record.run_id: record for record in (load_run(home, each) for each in runs)}
    comparison = compare_runs(records.values(), metric or (), best, children)
    for name in metric or ():
        if not any(name in row.results for row in comparison.rows):
            raise NotFound(f"none of these runs has a metric called {name!r}; see envbuild runs metrics {runs[0]}")
    if as_json:
        output.print_json(_document(comparison))
        return
    _print(comparison, comparison.metrics if metric else comparison.metrics[:_SHOWN])


def _print(comparison: "Comparison", metrics: Sequence[str]) -> None:
    different, same = comparison.parameters()
    if same:
        typer.echo(output.printable("the same in all: " + "  ".join(f"{name}={value}" for name, value in same.items())))
    header = ["RUN", "STATE", *different]
    for name in metrics:
        header += [name, f"{comparison.modes[name].upper()} (STEP)", ""]
    scales = {name: _scale(comparison, name) for name in metrics}
    output.print_table(
        header,
        [
            [
                row.run_id, row.state, *(row.parameters.get(name, "-") for name in different),
                *(cell for name in metrics for cell in _cells(row.results.get(name), scales[name])),
            ]
            for row in comparison.rows
        ],
    )  # fmt: skip
    left_out = comparison.metrics[len(metrics) :]
    if left_out:
        output.note(f"not shown: {', '.join(map(output.printable, left_out))}; name them with --metric")


def _cells(result: "Result | None", scale: tuple[float, float]) -> tuple[str, str, str]:
    if result is None:
        return "-", "-", ""
    best = "-" if result.best is None else f"{output.number(result.best)} ({result.best_step})"
    return output.number(result.last), best, sparkline(result.curve.values, scale)


def _scale(comparison: "Comparison", name: str) -> tuple[float, float]:
    """The lowest and the highest value of all runs, so that their curves can be compared."""
    curves: list[Series] = [row.results[name].curve for row in comparison.rows if name in row.results]
    lows = [low for curve in curves if (low := curve.best("min")) is not None]
    highs = [high for curve in curves if (high := curve.best("max")) is not None]
    return (min(lows), max(highs)) if lows else (0.0, 0.0)


def sparkline(values: Sequence[float], scale: tuple[float, float], width: int = _WIDTH) -> str:
    """The curve as a row of bars, each the mean of its stretch; a blank where no value is finite."""
    bars = _BARS if "utf" in (sys.stdout.encoding or "").lower() else _PLAIN_BARS
    low, high = scale
    count = min(width, len(values))
    text = ""
    for number in range(count):
        stretch = values[number * len(values) // count : (number + 1) * len(values) // count]
        finite = [value for value in stretch if math.isfinite(value)]
        if not finite:
            text += " "
            continue
        height = sum(_share(value, low, high) for value in finite) / len(finite)
        text += bars[min(len(bars) - 1, int(height * len(bars)))]
    return text


def _share(value: float, low: float, high: float) -> float:
    """Where `value` lies between `low` and `high`, 0 to 1."""
    # halves, because the difference of two huge numbers would be infinite
    return 0.0 if high == low else (value / 2 - low / 2) / (high / 2 - low / 2)


def _document(comparison: "Comparison") -> dict[str, Any]:
    different, same = comparison.parameters()
    return {
        "metrics": {name: {"mode": comparison.modes[name]} for name in comparison.metrics},
        "parameters": {"different": list(different), "same": dict(same)},
        "runs": [
            {
                "run_id": row.run_id,
                "experiment": row.experiment,
                "state": row.state,
                "parameters": dict(row.parameters),
                "metrics": {
                    name: {
                        "points": result.points,
                        "last": output.json_number(result.last),
                        "best": result.best,
                        "best_step": result.best_step,
                    }
                    for name, result in row.results.items()
                },
            }
            for row in comparison.rows
        ],
    }
