"""`envbuild export NAME[:VERSION] oci:DIR`"""

from pathlib import Path
from typing import Annotated

import typer

from envbuild.errors import InputError
from envbuild.settings import load_settings

from . import output


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild export pytorch-env oci:image && skopeo inspect oci:image:1")(export)


def export(
    reference: Annotated[str, typer.Argument(metavar="NAME[:VERSION]")],
    destination: Annotated[str, typer.Argument(metavar="oci:DIR", help="Where to write the image.")],
    as_json: output.Json = False,
) -> None:
    """Write an environment's image for other tools to read."""
    from envbuild.builder.publish.layout import export_layout
    from envbuild.builder.store import Store
    from envbuild.registry.environments import load

    kind, _, path = destination.partition(":")
    if kind != "oci" or not path:
        raise InputError(f"{destination!r} is no destination; write oci:DIR, for instance oci:image")
    settings = load_settings()
    environment = load(settings.home, reference)
    store = Store(settings.home)
    image = environment.image(store)
    folder = export_layout(image, environment.reference, store, Path(path), output.reporter())
    if as_json:
        output.print_json({"environment": environment.reference, "digest": image.digest, "folder": str(folder)})
    else:
        typer.echo(f"{environment.reference}  {image.digest}  oci:{folder}:{environment.version}")
