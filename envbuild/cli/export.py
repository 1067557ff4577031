"""`envbuild export NAME[:VERSION] oci-archive:FILE | docker-archive:FILE | oci:DIR`"""

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from envbuild.errors import InputError
from envbuild.settings import load_settings

from . import output

_KINDS = ("oci-archive", "docker-archive", "oci")


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild export pytorch-env oci-archive:pytorch.tar --with-packages")(export)


def export(
    reference: Annotated[str, typer.Argument(metavar="NAME[:VERSION]")],
    destination: Annotated[
        str, typer.Argument(metavar="KIND:PATH", help="oci-archive:FILE, docker-archive:FILE or oci:DIR.")
    ],
    with_packages: Annotated[
        bool, typer.Option("--with-packages", help="Add all packages, the base's too, to build from without a network.")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Write an environment's image, lock and record for other tools, or for `envbuild import` on another machine."""
    from envbuild.registry.archive import export_environment
    from envbuild.registry.environments import load

    kind, _, path = destination.partition(":")
    if kind not in _KINDS or not path:
        raise InputError(
            f"{destination!r} is no destination; write oci-archive:FILE, docker-archive:FILE or oci:DIR, "
            "for instance oci-archive:image.tar"
        )
    path = os.path.expanduser(path)  # shells leave a ~ behind a colon alone
    name, colon, _ = Path(path).name.partition(":")
    if colon:
        plain = Path(path).with_name(name or "image")
        raise InputError(
            f"{destination!r}: other tools take what follows the colon for a tag, and the image gets its own; "
            f"write {kind}:{plain}"
        )
    if with_packages and kind == "docker-archive":
        raise InputError("a docker-archive holds an image and nothing else; --with-packages needs oci-archive or oci")
    settings = load_settings()
    environment = load(settings.home, reference)
    done = export_environment(environment, kind, Path(path), settings, output.reporter(), with_packages=with_packages)
    if as_json:
        output.print_json(
            {"environment": environment.reference, "digest": done.digest, "path": str(path), "tag": done.reference}
        )
    else:
        typer.echo(f"{environment.reference}  {done.digest}  {kind}:{path}  as {done.reference}")
        if kind != "docker-archive":  # what belongs to the environment lies beside the image, so a tool must be told
            place = shlex.quote(f"{kind}:{path}:{done.reference.rpartition(':')[2]}")
            output.note(f"other tools find the image by its tag, for instance: skopeo inspect {place}")
