"""`envbuild runs list`, `show`, `logs` and `metrics`"""

import math
import shutil
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from envbuild.settings import load_settings

from . import output

app = typer.Typer(help="Recorded runs.", no_args_is_help=True)

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's id or the beginning of one; `last` for the newest.")]


@app.command("list", epilog="Example: envbuild runs list --experiment cifar10")
def list_(
    experiment: Annotated[str | None, typer.Option(help="Only this experiment's runs.")] = None,
    as_json: output.Json = False,
) -> None:
    """List the runs, newest first."""
    from envbuild.trainer.run import list_runs

    runs = list_runs(load_settings().home, experiment)
    if as_json:
        output.print_json([run.document for run in runs])
        return
    if not runs:
        output.note("no run is recorded yet: envbuild run src/ train.py")
        return
    output.print_table(
        ("RUN", "EXPERIMENT", "STATE", "ENVIRONMENT", "STARTED", "SCRIPT"),
        [
            (
                run.run_id,
                run.experiment,
                run.state,
                f"{run.document['environment']['name']}:{run.document['environment']['version']}",
                run.document["created"],
                run.document["script"],
            )
            for run in runs
        ],
    )


@app.command(epilog="Example: envbuild runs show last")
def show(run: Run, as_json: output.Json = False) -> None:
    """Show one run's record."""
    from envbuild.trainer.run import load_run

    record = load_run(load_settings().home, run)
    if as_json:
        output.print_json(record.document)
        return
    for key, value in _flat(record.document):
        typer.echo(f"{key:<28} {value}")
    typer.echo(f"{'folder':<28} {record.folder}")


@app.command(epilog="Example: envbuild runs logs last")
def logs(run: Run) -> None:
    """Print a run's 70_driver_log.txt, byte for byte."""
    from envbuild.trainer.run import load_run

    with load_run(load_settings().home, run).driver_log.open("rb") as log:
        shutil.copyfileobj(log, sys.stdout.buffer)


@app.command(epilog="Example: envbuild runs metrics last")
def metrics(run: Run, as_json: output.Json = False) -> None:
    """Print a run's metrics."""
    from envbuild.trainer.metrics import read_metrics
    from envbuild.trainer.run import load_run

    record = load_run(load_settings().home, run)
    found = read_metrics(record.metrics_file)
    if as_json:
        points = {
            name: [{"step": point.step, "value": _json_value(point.value), "time": point.time} for point in series]
            for name, series in found.items()
        }
        output.print_json({"run_id": record.run_id, "metrics": points})
        return
    if not found:
        output.note(f"{record.run_id} has logged no metrics")
        return
    output.print_table(
        ("METRIC", "POINTS", "FIRST", "LAST"),
        [(name, len(series), _shown(series[0].value), _shown(series[-1].value)) for name, series in found.items()],
    )


def _flat(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in document.items():
        if isinstance(value, dict) and value:
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows


def _json_value(value: object) -> object:
    """NaN and infinities as texts: JSON has no numbers for them (RFC 8259, section 6)."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
