"""`envbuild azureml SCRIPT.py [ARGS]...`"""

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    app.command(
        context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True},
        epilog="Example: envbuild azureml 04-run-pytorch.py",
    )(azureml)


def azureml(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT.py", help="A control script.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="ARGS", help="Passed to the script.")] = None,
) -> None:
    """Run a control script written for azureml.core unedited: its runs run on this machine."""
    from envbuild.azureml.control import run_script

    raise typer.Exit(run_script(script, arguments or ()))
