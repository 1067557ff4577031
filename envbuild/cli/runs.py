"""`envbuild runs list`, `show`, `tag` and `remove`; what follows or steers a run is in `runs_live`"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envbuild.settings import load_settings

from . import output

if TYPE_CHECKING:
    from envbuild.trainer.run import RunRecord

app = typer.Typer(help="Recorded runs.", epilog="Example: envbuild runs list", no_args_is_help=True)

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's id or the beginning of one; `last` for the newest.")]


@app.command("list", epilog="Example: envbuild runs list --experiment cifar10 --state failed --since 2d")
def list_(
    experiment: Annotated[str | None, typer.Option(help="Only this experiment's runs.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Only runs in this state, for instance failed; may be repeated."),
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="KEY[=VALUE]", help="Only runs with this tag.")] = None,
    env: Annotated[str | None, typer.Option(metavar="NAME[:VERSION]", help="Only runs in this environment.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only runs since 2026-11-24, or of the last 2h or 7d.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest so many.")] = None,
    as_json: output.Json = False,
) -> None:
    """List the runs, newest first, with their child runs below them."""
    from envbuild.trainer.selection import Selection, parse_since, parse_state, parse_tag, select_runs

    selection = Selection(
        experiment=experiment,
        states=tuple(parse_state(each) for each in state or ()),
        tags=tuple(parse_tag(each) for each in tag or ()),
        environment=env,
        since=parse_since(since) if since else "",
        limit=limit,
    )
    runs = select_runs(load_settings().home, selection)
    if as_json:
        output.print_json([run.document for run in runs])
        return
    if not runs:
        output.note("no run is recorded yet: envbuild run src/ train.py" if selection == Selection() else "no such run")
        return
    header = ("RUN", "EXPERIMENT", "STATE", "ENVIRONMENT", "CREATED", "SCRIPT", "PARAMETERS")
    output.print_table(header, [row for run in runs for row in _rows(run)])


def _rows(run: "RunRecord") -> list[tuple[str, ...]]:
    """A run's line of the list, and one for each of its children."""
    parameters = " ".join(f"{name}={value}" for name, value in run.parameters.items())
    script = str(run.document.get("script", ""))
    rows: list[tuple[str, ...]] = [
        (run.run_id, run.experiment, run.state, run.environment, run.document["created"], script, _short(parameters))
    ]
    for child_id, child in run.children.items():
        name, state = output.printable(str(child.get("name") or child_id)), output.printable(child.get("state", ""))
        rows.append((f"  {name}", "", state, "", "", "", _short(_texts(child.get("tags") or {}))))
    return rows


@app.command(epilog="Example: envbuild runs show last")
def show(run: Run, as_json: output.Json = False) -> None:
    """Show one run's record."""
    from envbuild.trainer.run import load_run

    record = load_run(load_settings().home, run)
    if as_json:
        output.print_json(record.document)
        return
    for key, value in _flat(record.document):
        typer.echo(output.printable(f"{key:<28} {value}"))
    typer.echo(f"{'folder':<28} {record.folder}")


@app.command(epilog="Example: envbuild runs tag last model=resnet best=yes --remove draft")
def tag(
    run: Run,
    tags: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE")] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Remove this tag.")] = None,
    as_json: output.Json = False,
) -> None:
    """Set or remove a run's tags, and print them."""
    from envbuild.trainer.run import load_run, tag_run
    from envbuild.trainer.selection import parse_tags

    record = tag_run(load_run(load_settings().home, run), parse_tags(tags or ()), remove or ())
    if as_json:
        output.print_json(record.tags)
    else:
        typer.echo(_texts(record.tags))


@app.command(epilog="Example: envbuild runs remove 20261124-1614 --yes")
def remove(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: output.Json = False,
) -> None:
    """Remove runs with their logs, metrics and outputs."""
    from envbuild.trainer.run import check_removable, load_run, remove_run

    found = {record.folder: record for record in (load_run(load_settings().home, each) for each in runs)}
    for record in found.values():
        check_removable(record)
    if not yes:
        for record in found.values():
            output.note(f"{record.experiment}/{record.run_id}  {record.state}")
        output.confirm(f"Remove {len(found)} run(s) with all their files?")
    for record in found.values():
        remove_run(record)
        if not as_json:
            typer.echo(f"removed {record.experiment}/{record.run_id}")
    if as_json:
        output.print_json({"removed": [record.run_id for record in found.values()]})


def _texts(tags: Mapping[str, Any]) -> str:
    return output.printable(" ".join(key if value is None else f"{key}={value}" for key, value in tags.items()))


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _flat(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in document.items():
        if isinstance(value, dict) and value:
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows
