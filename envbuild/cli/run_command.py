"""`envbuild run SOURCE SCRIPT [ARGS]...`"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envbuild.errors import InputError
from envbuild.settings import Settings, load_settings, parse_size

from . import output

if TYPE_CHECKING:
    from envbuild.trainer.submit import EnvironmentForRun

_OWN_OPTIONS = ("--env", "--experiment", "--target", "--mount", "--network", "--no-network", "--cpus", "--memory")


def add_to(app: typer.Typer) -> None:
    app.command(
        name="run",
        context_settings={"allow_interspersed_args": False},
        epilog="Example: envbuild run --mount data=data/ src/ train.py --data '{data}' --epochs 2",
    )(run)


def run(
    source: Annotated[Path, typer.Argument(help="The source folder; a snapshot of it is run.")],
    script: Annotated[str, typer.Argument(help="The script, relative to SOURCE.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGS]...", help="Passed to the script; {NAME} is a mount's path.")
    ] = None,
    env: Annotated[str | None, typer.Option(metavar="NAME[:VERSION]", help="The environment to run in.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Default: the name of SOURCE's project folder.")] = None,
    target: Annotated[str | None, typer.Option(help="Where to run.")] = None,
    mount: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="Show PATH to the job, read-only.")
    ] = None,
    network: Annotated[
        bool, typer.Option("--network/--no-network", help="Whether the job may use the network.")
    ] = True,
    cpus: Annotated[int | None, typer.Option(min=1, help="Processors that the job may use.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory for data, for instance 8GiB.")] = None,
    shm_size: Annotated[str, typer.Option(help="Size of /dev/shm.")] = "2GiB",
    as_json: output.Json = False,
) -> None:
    """Run SCRIPT of the folder SOURCE inside an environment, and record it.

    Options go before SOURCE: everything after SCRIPT belongs to the script.
    """
    from envbuild.trainer.submit import RunRequest, submit

    settings = load_settings()
    for argument in arguments or ():
        if argument.partition("=")[0] in _OWN_OPTIONS:
            output.note(
                f"note: {argument} stands after the script and is passed to it; options of run go before SOURCE"
            )
    request = RunRequest(
        source=source,
        script=script,
        arguments=tuple(arguments or ()),
        experiment=experiment or _experiment(source, settings),
        environment=_environment(env, settings),
        mounts=tuple(_mount(each) for each in mount or ()),
        network=network,
        cpus=cpus,
        memory=parse_size(memory, "--memory") if memory else None,
        shm_size=parse_size(shm_size, "--shm-size"),
        target=target or settings.target,
    )
    record = submit(request, settings, output.reporter(), None if as_json else _show)
    if as_json:
        output.print_json(record.document)
    else:
        output.note(f"{record.experiment}/{record.run_id}  {record.state}  {record.folder}")
    raise typer.Exit(record.exit_status)


def _environment(reference: str | None, settings: Settings) -> "EnvironmentForRun":
    from envbuild.builder.store import Store
    from envbuild.registry.register import find_environment
    from envbuild.trainer.submit import EnvironmentForRun

    environment, how = find_environment(settings, reference)
    if how != "named":
        output.note(f"environment {environment.reference} ({how})")
    store = Store(settings.home)
    image = environment.image(store)
    return EnvironmentForRun(
        name=environment.name,
        version=environment.version,
        image_digest=image.digest,
        root=environment.root(store),
        env=image.env,
        build_log=environment.build_log,
    )


def _experiment(source: Path, settings: Settings) -> str:
    """The project's name, or the name of the folder that holds `source`."""
    import re

    folder = settings.project or source.absolute().resolve().parent
    name = settings.project_name or folder.name or "default"
    return re.sub(r"[^\w-]", "-", name).lstrip("-_") or "default"


def _mount(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not name.isidentifier():
        raise InputError(f"--mount {text!r} is not NAME=PATH, for instance data=../data")
    if not Path(path).exists():
        raise InputError(f"--mount {text!r}: {path} does not exist")
    return name, Path(path).resolve()


def _show(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
