"""`envbuild channel build RECIPE DIR`"""

from pathlib import Path
from typing import Annotated

import typer

from . import output

app = typer.Typer(
    help="Local conda channels.",
    epilog="Example: envbuild channel build channel.toml my-channel/",
    no_args_is_help=True,
)


@app.callback()
def _channel() -> None:
    """Keeps `build` a sub-command while it is the only one."""


@app.command(epilog="Example: envbuild channel build channel.toml my-channel/")
def build(
    recipe: Annotated[Path, typer.Argument(help="The channel's recipe, channel.toml.")],
    directory: Annotated[Path, typer.Argument(help="The folder to build it in; what is up to date there stays.")],
    as_json: output.Json = False,
) -> None:
    """Build a real, indexed conda channel out of PyPI wheels and this CPython."""
    from envbuild.builder.channel.build import build_channel

    report = build_channel(recipe, directory, output.reporter())
    if as_json:
        output.print_json({"directory": str(directory), "built": list(report.built), "reused": list(report.reused)})
    elif report.built:
        typer.echo(f"{directory}  {len(report.built)} packages built, {len(report.reused)} reused")
    else:
        typer.echo(f"{directory}  reused, all {len(report.reused)} packages are up to date")
