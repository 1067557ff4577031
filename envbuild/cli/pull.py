"""`envbuild pull REGISTRY/REPOSITORY:TAG`"""

from typing import Annotated

import typer

from envbuild.settings import load_settings

from . import output
from .push import Insecure


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild pull registry.example.org/team/pytorch-env:1 && envbuild run src/ train.py")(
        pull
    )


def pull(
    source: Annotated[str, typer.Argument(metavar="REGISTRY/REPOSITORY[:TAG|@DIGEST]")],
    name: Annotated[
        str | None, typer.Option(help="The environment's name here; default: the one it was pushed as.")
    ] = None,
    platform: Annotated[str, typer.Option(help="The image to look for, where an index lists several.")] = "linux-64",
    insecure: Insecure = False,
    as_json: output.Json = False,
) -> None:
    """Register an environment that was pushed, with its lock and records; only layers that are missing here travel."""
    from envbuild.registry.sharing import pull

    done = pull(source, load_settings(), output.reporter(), name=name, platform=platform, insecure=insecure)
    environment = done.environment
    count = len({layer.diff_id for layer in environment.all_layers})
    if as_json:
        output.print_json(
            {
                "environment": environment.reference,
                "environment_id": environment.environment_id,
                "digest": environment.record["image"]["digest"],
                **({"index": environment.record["index"]["digest"]} if "index" in environment.record else {}),
                "platforms": list(environment.platforms),
                "status": "pulled" if done.status == "restored" else done.status,
                "layers": {"unpacked": done.unpacked, "there": count - done.unpacked},
            }
        )
        return
    how = "is there already" if done.status == "there" else "pulled"
    new = f"{done.unpacked} of {count} layers were new here"
    typer.echo(f"{environment.reference}  {environment.record['image']['digest']}  {how}, {new}")
