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
    as_json: output.Json = False,
) -> None:
    """Pin a base's packages again, from what the mirror offers now, as a new version of the base."""
    from envbuild.builder.base import update_base

    changed = update_base(name, load_settings(), output.reporter())
    if as_json:
        output.print_json({"name": name, "version": changed.version, "changes": list(changed.changes)})
        return
    for line in changed.changes:
        typer.echo(line)
    typer.echo(f"{name}:{changed.version}  {len(changed.changes)} packages changed")
