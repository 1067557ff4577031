"""`envbuild verify NAME[:VERSION]`"""

from pathlib import Path
from typing import Annotated

import typer

from envbuild.settings import load_settings

from . import output


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild verify pytorch-env:1")(verify)


def verify(
    reference: Annotated[
        str, typer.Argument(metavar="NAME[:VERSION]", help="NAME (its newest version), NAME:VERSION or NAME:TAG.")
    ],
    key: Annotated[
        Path | None, typer.Option(help="A public key (PEM): the provenance must be signed by it, too.")
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Build an environment again from its lock in a clean cache, and compare every digest and file with this one."""
    from envbuild.registry.environments import load
    from envbuild.registry.sign import check_signature
    from envbuild.registry.verify import verify as verify_version

    settings = load_settings()
    environment = load(settings.home, reference)
    if key is not None:
        check_signature(environment, key)
        output.note(f"the provenance of {environment.reference} is signed by {key}")
    found = verify_version(environment, settings, output.reporter())
    name = found.environment.reference
    if as_json:
        output.print_json({"environment": name, "layers": found.layers, "findings": list(found.findings)})
    elif found.findings:
        for finding in found.findings:
            typer.echo(output.printable(finding))
    else:
        typer.echo(f"{name}  verified: {found.layers} layers, config and manifest are what was registered")
    if found.findings:
        raise typer.Exit(1)
