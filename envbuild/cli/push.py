"""`envbuild push NAME[:VERSION] [REGISTRY/REPOSITORY[:TAG]]`"""

from typing import TYPE_CHECKING, Annotated

import typer

from envbuild.settings import load_settings

from . import output

if TYPE_CHECKING:
    from envbuild.registry.sharing import Published

Insecure = Annotated[
    bool, typer.Option("--insecure", help="Plain http will do (this machine's own addresses never need it).")
]


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild push pytorch-env registry.example.org/team/pytorch-env")(push)


def push(
    reference: Annotated[str, typer.Argument(metavar="NAME[:VERSION]")],
    destination: Annotated[
        str | None,
        typer.Argument(
            metavar="REGISTRY/REPOSITORY[:TAG]",
            help="Where to; default: the repository of [registry] in envbuild.toml. Default tag: the version.",
        ),
    ] = None,
    compression: Annotated[str, typer.Option(help="gzip (read everywhere) or zstd (newer clients only).")] = "gzip",
    insecure: Insecure = False,
    as_json: output.Json = False,
) -> None:
    """Push an environment's image, with its lock and records, into a registry; only what is missing there travels."""
    from envbuild.registry.environments import load
    from envbuild.registry.sharing import push

    settings = load_settings()
    environment = load(settings.home, reference)
    done = push(environment, destination, settings, output.reporter(), codec=compression, insecure=insecure)
    if as_json:
        output.print_json({"environment": environment.reference, **_document(done)})
        return
    layers = f"{done.image.missing} layers sent ({output.size(done.image.sent)}), {done.image.there} there"
    typer.echo(f"{environment.reference}  {done.reference}  {layers}, {done.image.mounted} mounted")


def _document(done: "Published") -> dict[str, object]:
    return {
        "reference": str(done.reference),
        "digest": done.reference.digest,
        "tags": list(done.tags),
        "files": list(done.files),
        "layers": {"sent": done.image.missing, "there": done.image.there, "mounted": done.image.mounted},
        "bytes_sent": done.image.sent,
    }
