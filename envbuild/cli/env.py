"""`envbuild env list` and `envbuild env show`"""

from typing import Annotated, Any

import typer

from envbuild.settings import load_settings

from . import output

app = typer.Typer(help="Registered environments.", no_args_is_help=True)


@app.command("list", epilog="Example: envbuild env list")
def list_(as_json: output.Json = False) -> None:
    """List every version of every registered environment."""
    from envbuild.registry.environments import list_environments

    environments = list_environments(load_settings().home)
    if as_json:
        output.print_json([environment.record for environment in environments])
        return
    if not environments:
        output.note("no environment is registered yet: envbuild register environment.yml")
        return
    output.print_table(
        ("ENVIRONMENT", "REGISTERED", "PACKAGES", "SIZE", "IMAGE"),
        [
            (
                environment.reference,
                environment.record["registered"],
                environment.record["packages"],
                output.size(sum(layer.size for layer in environment.layers)),
                environment.record["image"]["digest"][:19],
            )
            for environment in environments
        ],
    )


@app.command(epilog="Example: envbuild env show pytorch-env:1")
def show(
    reference: Annotated[str, typer.Argument(metavar="NAME[:VERSION]")],
    as_json: output.Json = False,
) -> None:
    """Show one environment: identities, layers with their packages, files."""
    from envbuild.registry.environments import load

    environment = load(load_settings().home, reference)
    record: Any = environment.record
    if as_json:
        output.print_json({**record, "folder": str(environment.folder)})
        return
    for label, value in (
        ("environment", environment.reference),
        ("registered", record["registered"]),
        ("image", record["image"]["digest"]),
        ("config", record["image"]["config_digest"]),
        ("environment id", environment.environment_id),
        ("spec key", record["spec_key"]),
        ("lock", record["lock_digest"]),
        ("base", f"{record['base']['name']}:{record['base']['version']}  {record['base']['diff_id']}"),
        ("platform", record["platform"]),
        ("files", environment.folder),
    ):
        typer.echo(f"{label:<15} {value}")
    typer.echo("")
    output.print_table(
        ("LAYER", "SIZE", "PACKAGES"),
        [
            (layer.diff_id[7:19], output.size(layer.size), ", ".join(layer.packages) or layer.title)
            for layer in environment.layers
        ],
    )
