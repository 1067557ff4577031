"""`envbuild shell [NAME[:VERSION]]`"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from envbuild.settings import load_settings

from . import output


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild shell pytorch-env -c 'python -c \"import torch; print(torch.__version__)\"'")(
        shell
    )


def shell(
    reference: Annotated[
        str | None, typer.Argument(metavar="NAME[:VERSION]", help="Default: the project's environment.")
    ] = None,
    command: Annotated[
        str | None, typer.Option("--command", "-c", metavar="COMMAND", help="Run this instead of a prompt.")
    ] = None,
    target: Annotated[
        str, typer.Option(metavar="NAME", help="Where: local, docker, or a target of envbuild.toml.")
    ] = "local",
    network: Annotated[bool, typer.Option("--network/--no-network", help="Whether the network may be used.")] = True,
    gpus: Annotated[str, typer.Option(metavar="all|N|ID,ID", help="GPUs that may be used.")] = "",
) -> None:
    """Open a shell in an environment, with the project folder mounted (and writable) as its working folder."""
    from envbuild.builder.store import Store
    from envbuild.registry.register import find_environment
    from envbuild.trainer.targets import Session, find_target, shm_size

    settings = load_settings()
    environment, how = find_environment(settings, reference)
    if how != "named":
        output.note(f"environment {environment.reference} ({how})")
    store = Store(settings.home)
    kept = {name: os.environ[name] for name in ("TERM", "COLORTERM", "LANG", "TZ") if name in os.environ}
    env = {**kept, **environment.image(store).env, "HOME": "/tmp", "PS1": f"({environment.reference}) \\w\\$ "}
    argv = ["/bin/bash"]
    if sys.stdin.isatty():  # else it reads its commands, as any shell does, and nobody waits for a prompt
        argv += ["--norc", "-i"]  # job control: Ctrl-C reaches what runs in the foreground, and not the sandbox
    if command is not None:
        argv += ["-c", command]
    folder = settings.project or Path.cwd()
    session = Session(
        argv, environment.root(store), environment.image(store), environment.reference, env, folder, network,
        shm_size(target, settings), gpus,
    )  # fmt: skip
    raise typer.Exit(find_target(target, settings).interact(session, output.reporter()))
