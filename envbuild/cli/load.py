"""`envbuild load NAME[:VERSION]`"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from envbuild.settings import Settings, load_settings

from . import output

if TYPE_CHECKING:
    from envbuild.builder.publish.docker import Loaded
    from envbuild.registry.environments import Environment


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild load pytorch-env && docker run --rm pytorch-env:1 python -V")(load)


def load(
    reference: Annotated[str, typer.Argument(metavar="NAME[:VERSION]")],
    host: Annotated[
        str, typer.Option(help="The engine's address; default: DOCKER_HOST, else the current Docker context.")
    ] = "",
    as_json: output.Json = False,
) -> None:
    """Load an environment's image into Docker Engine (or Podman), sending only the layers that it lacks."""
    from envbuild.registry import environments

    settings = load_settings()
    done = into_engine(environments.load(settings.home, reference), host, settings)
    if as_json:
        output.print_json(asdict(done))
    else:
        typer.echo(shown(done))


def into_engine(environment: "Environment", host: str, settings: Settings) -> "Loaded":
    """Load the image of `environment` into the engine at `host` (empty: the one that the environment means)."""
    from envbuild.builder.publish.docker import load_image
    from envbuild.builder.publish.engine import find_engine
    from envbuild.builder.publish.layout import image_reference
    from envbuild.builder.store import Store
    from envbuild.registry.rebuild import ready

    store = Store(settings.home)
    name = image_reference(environment.name, environment.version)
    with ready(environment, settings, output.reporter()):
        return load_image(environment.image(store), name, store, find_engine(host, "--host"), output.reporter())


def shown(loaded: "Loaded") -> str:
    """One line for people."""
    how = {"there": "was there", "part": "loaded", "all": "loaded"}[loaded.status]
    sent = f", {loaded.sent_layers} layers sent ({output.size(loaded.sent_bytes)})" if loaded.sent_layers else ""
    return f"{loaded.reference}  {loaded.image_id}  {how}{sent}"
