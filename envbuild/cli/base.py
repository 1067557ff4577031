"""`envbuild base list` and `envbuild base update`"""

from typing import Annotated

import typer

from envbuild.settings import load_settings

from . import output

app = typer.Typer(help="Curated base images.", no_args_is_help=True)


@app.command("list", epilog="Example: envbuild base list")
def list_(as_json: output.Json = False) -> None:
    """List the bases that images can be built on."""
    from dataclasses import asdict

    from envbuild.builder.base import list_bases

    bases = list_bases(load_settings())
    if as_json:
        output.print_json([asdict(base) for base in bases])
        return
    output.print_table(
        ("BASE", "PACKAGES", "BUILT", "DESCRIPTION"),
        [
            (f"{each.name}:{each.version}", each.packages, "yes" if each.built else "no", each.description)
            for each in bases
        ],
    )


@app.command(epilog="Example: envbuild base update debian12-minimal")
def update(
    name: Annotated[str, typer.Argument(help="The base to pin again.")],
    if_dropped: Annotated[
        bool, typer.Option("--if-dropped", help="Only when the mirror has dropped a pinned version.")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Pin a base's packages again, from what the mirror offers now, as a new version of the base."""
    from envbuild.builder.base import DroppedPins, ensure_base, update_base

    if if_dropped:
        try:
            there = ensure_base(name, load_settings(), output.reporter())
        except DroppedPins as error:
            output.note(str(error))
        else:
            typer.echo(f"{name}:{there.version}  {there.diff_id}  as pinned")
            return
    changed = update_base(name, load_settings(), output.reporter())
    if as_json:
        output.print_json({"name": name, "version": changed.version, "changes": list(changed.changes)})
        return
    for line in changed.changes:
        typer.echo(line)
    typer.echo(f"{name}:{changed.version}  {len(changed.changes)} packages changed")
