"""`envbuild base list`, `show` and `update`"""

from typing import Annotated

import typer

from envbuild.settings import load_settings

from . import output

app = typer.Typer(
    help="Base images: curated ones, and those that envbuild.toml names from registries.",
    epilog="Example: envbuild base list",
    no_args_is_help=True,
)


@app.command("list", epilog="Example: envbuild base list")
def list_(as_json: output.Json = False) -> None:
    """List the bases that images can be built on."""
    from dataclasses import asdict

    from envbuild.builder.bases.base import list_bases

    bases = list_bases(load_settings())
    if as_json:
        output.print_json([asdict(base) for base in bases])
        return
    output.print_table(
        ("BASE", "PACKAGES", "HERE", "DESCRIPTION"),
        [
            (f"{each.name}:{each.version}", each.packages or "-", "yes" if each.built else "no", each.description)
            for each in bases
        ],
    )


@app.command(epilog="Example: envbuild base show debian12-minimal")
def show(
    name: Annotated[str, typer.Argument(help="The base.")],
    as_json: output.Json = False,
) -> None:
    """Show one base: what it is pinned to, its layers, its packages or variables."""
    from envbuild.builder.bases.base import show_base

    document = show_base(name, load_settings())
    if as_json:
        output.print_json(document)
        return
    for key, value in document.items():
        if isinstance(value, (list, tuple, dict)):
            lines = [f"{name}={each}" for name, each in value.items()] if isinstance(value, dict) else value
            typer.echo(f"{key:<12} {len(lines)}")
            for line in lines:
                shown = "  ".join(str(each) for each in line.values()) if isinstance(line, dict) else line
                typer.echo(f"{'':<12} {shown}")
        else:
            typer.echo(f"{key:<12} {value}")


@app.command(epilog="Example: envbuild base update debian12-minimal")
def update(
    name: Annotated[str, typer.Argument(help="The base to pin again.")],
    if_dropped: Annotated[
        bool, typer.Option("--if-dropped", help="Only when the mirror has dropped a pinned version.")
    ] = False,
    platform: Annotated[str, typer.Option(help="The platform whose pins are meant.")] = "linux-64",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    as_json: output.Json = False,
) -> None:
    """Pin a base again, as the mirror offers its packages or the registry its tag now: a new version of the base."""
    from envbuild.builder.bases.base import DroppedPins, ensure_base, update_base

    if if_dropped:
        try:
            there = ensure_base(name, load_settings(), output.reporter(), platform)
        except DroppedPins as error:
            output.note(str(error))
        else:
            if as_json:
                output.print_json({"name": name, "version": there.version, "changes": []})
            else:
                typer.echo(f"{name}:{there.version}  {there.identity}  as pinned")
            return
    changed = update_base(name, load_settings(), output.reporter(), platform, dry_run=dry_run)
    if as_json:
        output.print_json({"name": name, "version": changed.version, "changes": list(changed.changes)})
        return
    for line in changed.changes:
        typer.echo(line)
    what = f"{len(changed.changes)} changes" if changed.changes else "as it was"
    typer.echo(f"{name}:{changed.version}  {what}{', nothing written' if dry_run else ''}")
