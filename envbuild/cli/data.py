"""`envbuild data put`, `list`, `show` and `remove`"""

from pathlib import Path
from typing import Annotated

import typer

from envbuild.settings import load_settings

from . import output

app = typer.Typer(
    help="Data sets: versions of folders, kept once, mounted into runs.",
    epilog="Example: envbuild data put data cifar10",
    no_args_is_help=True,
)

Reference = Annotated[str, typer.Argument(metavar="NAME[:VERSION]")]


@app.command(epilog="Example: envbuild data put data cifar10    (then: envbuild run --data cifar10 src train.py)")
def put(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="The folder (or file) to keep.")],
    name: Annotated[str, typer.Argument(help="The data set's name.")],
    as_json: output.Json = False,
) -> None:
    """Keep a folder as the next version of a data set; the same content makes no new version."""
    from envbuild.trainer.data import put_data

    data, new = put_data(source, name, load_settings().home, output.reporter())
    if as_json:
        output.print_json({**data.document(), "status": "new" if new else "known"})
    else:
        how = f"{data.files} files, {output.size(data.size)}" if new else "known"
        typer.echo(f"{data.reference}  {data.digest[:19]}  {how}")


@app.command("list", epilog="Example: envbuild data list")
def list_(as_json: output.Json = False) -> None:
    """List every version of every data set."""
    from envbuild.trainer.data import list_data

    found = list_data(load_settings().home)
    if as_json:
        output.print_json([data.document() for data in found])
        return
    if not found:
        output.note("no data set is kept yet: envbuild data put DIR NAME")
        return
    output.print_table(
        ("DATA", "CREATED", "FILES", "SIZE", "DIGEST"),
        [(data.reference, data.created, data.files, output.size(data.size), data.digest[:19]) for data in found],
    )


@app.command(epilog="Example: envbuild data show cifar10:1")
def show(reference: Reference, as_json: output.Json = False) -> None:
    """Show one version: where it came from, its digest, its files."""
    from envbuild.trainer.data import list_files, load_data

    data = load_data(load_settings().home, reference)
    files = list_files(data)
    if as_json:
        output.print_json({**data.document(), "list": files})
        return
    for label, value in data.document().items():
        typer.echo(f"{label:<10} {value}")
    typer.echo("")
    output.print_table(
        ("SIZE", "SHA256", "PATH"),
        [(output.size(file["size"]), file["sha256"][:12], output.printable(file["path"])) for file in files],
    )


@app.command(epilog="Example: envbuild data remove cifar10:1 --yes")
def remove(
    reference: Annotated[str, typer.Argument(metavar="NAME:VERSION")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: output.Json = False,
) -> None:
    """Remove one version, and what no other version has."""
    from envbuild.trainer.data import load_data, remove_data

    home = load_settings().home
    data = load_data(home, reference)
    if not yes:
        output.confirm(f"Remove {data.reference} ({data.files} files, {output.size(data.size)})?")
    freed = remove_data(data, home)
    if as_json:
        output.print_json({"removed": data.reference, "freed": freed})
    else:
        typer.echo(f"removed {data.reference}, {output.size(freed)} freed")
