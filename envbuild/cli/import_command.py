"""`envbuild import FILE | oci:DIR`"""

import os
from pathlib import Path
from typing import Annotated

import typer

from envbuild.errors import InputError
from envbuild.settings import load_settings

from . import output


def add_to(app: typer.Typer) -> None:
    app.command(
        name="import", epilog="Example: envbuild import pytorch.tar && envbuild run --env pytorch-env src/ train.py"
    )(import_)


def import_(
    source: Annotated[str, typer.Argument(metavar="FILE|oci:DIR", help="What envbuild export has written.")],
    name: Annotated[str | None, typer.Option(help="Register it under this name; default: its own.")] = None,
    as_json: output.Json = False,
) -> None:
    """Register an environment from an archive: image, lock, record and, where they are in it, packages."""
    from envbuild.registry.archive import import_environment

    done = import_environment(_path(source), load_settings(), output.reporter(), name=name)
    environment, restoration = done.restoration.environment, done.restoration
    if as_json:
        output.print_json(
            {**environment.record, "status": restoration.status, "unpacked": restoration.unpacked,
             "imported_packages": done.packages, "folder": str(environment.folder)}
        )  # fmt: skip
        return
    more = f", {done.packages} packages" if done.packages else ""
    how = "was there" if restoration.status == "there" else f"imported, {restoration.unpacked} layers unpacked"
    typer.echo(f"{environment.reference}  {environment.record['image']['digest']}  {how}{more}")


def _path(source: str) -> Path:
    kind, _, path = source.partition(":")
    if kind == "docker-archive":
        raise InputError("a docker-archive holds an image and no environment; export it as oci-archive:FILE or oci:DIR")
    if kind not in ("oci-archive", "oci"):
        path = source
    if not path:
        raise InputError(f"{source!r} names no archive; write FILE or oci:DIR, as envbuild export wrote it")
    return Path(path) if path is source else Path(os.path.expanduser(path))  # shells leave a ~ behind a colon alone
