"""`envbuild run SOURCE SCRIPT [ARGS]...`"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envbuild.errors import InputError
from envbuild.settings import Settings, load_settings, parse_size

from . import output

if TYPE_CHECKING:
    from envbuild.trainer.run import RunRecord
    from envbuild.trainer.submit import EnvironmentForRun

_OWN_OPTIONS = (
    "--env", "--experiment", "--target", "--mount", "--network", "--no-network", "--cpus", "--memory", "--shm-size",
    "--gpus", "--timeout", "--detach", "--tag",
)  # fmt: skip


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
        list[str] | None,
        typer.Argument(metavar="ARGS", help="Passed to the script; {NAME} is a mount's path, {{NAME}} itself."),
    ] = None,
    env: Annotated[
        str | None, typer.Option(metavar="NAME[:VERSION]", help="Default: the project's, else the one registered last.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Default: the name of SOURCE's project folder.")] = None,
    target: Annotated[str | None, typer.Option(help="Where to run: local, docker, or one of envbuild.toml.")] = None,
    mount: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="Show PATH to the job, read-only.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(metavar="NAME[:VERSION]", help="Show a data set to the job (envbuild data).")
    ] = None,
    network: Annotated[
        bool, typer.Option("--network/--no-network", help="Whether the job may use the network.")
    ] = True,
    cpus: Annotated[int | None, typer.Option(min=1, help="Processors that the job may use.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory for data, for instance 8GiB.")] = None,
    shm_size: Annotated[str | None, typer.Option(help="Size of /dev/shm; default: the target's, 2GiB.")] = None,
    gpus: Annotated[str, typer.Option(metavar="all|N|ID,ID", help="GPUs that the job may use.")] = "",
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="End the job after that time, for instance 2h or 90m.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Tag the run.")] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return at once; the run goes on in the background.")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Run SCRIPT of the folder SOURCE inside an environment, and record it.

    Options go before SOURCE: everything after SCRIPT belongs to the script.
    """
    from envbuild.trainer.selection import parse_tags
    from envbuild.trainer.submit import RunRequest, default_experiment, submit
    from envbuild.trainer.targets import shm_size as default_shm_size

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
        experiment=experiment or default_experiment(source, settings),
        environment=_environment(env, settings),
        mounts=tuple(_mount(each) for each in mount or ()),
        data=tuple((each.partition(":")[0], each) for each in data or ()),
        network=network,
        cpus=cpus,
        memory=parse_size(memory, "--memory") if memory else None,
        shm_size=parse_size(shm_size, "--shm-size")
        if shm_size
        else default_shm_size(target or settings.target, settings),
        gpus=gpus,
        target=target or settings.target,
        timeout=_timeout(timeout),
        tags=parse_tags(tag or ()),
    )
    start(submit(request, settings, output.reporter()), settings, detach, as_json)


def start(run: "RunRecord", settings: Settings, detach: bool, as_json: bool) -> None:
    """Run the queued `run`: to its end with its log on standard output, or in the background; end the command."""
    from envbuild.trainer.cancel import answering_for

    with answering_for(run):
        _start(run, settings, detach, as_json)


def _start(run: "RunRecord", settings: Settings, detach: bool, as_json: bool) -> None:
    from envbuild.trainer.background import supervise_in_background
    from envbuild.trainer.portal import portal_url, studio_url
    from envbuild.trainer.supervisor import supervise

    if studio_url(settings.home):
        output.note(portal_url(run))
    if detach:
        run = supervise_in_background(run, settings)
        if as_json:
            output.print_json(run.document)
        else:
            typer.echo(run.run_id)
            output.note(f"running in the background; follow it: envbuild runs logs -f {run.run_id}")
        raise typer.Exit(0)
    record = supervise(run, settings, output.reporter(), None if as_json else show_piece)
    if as_json:
        output.print_json(record.document)
    else:
        output.note(f"{record.experiment}/{record.run_id}  {output.state(record)}  {record.folder}")
    raise typer.Exit(record.exit_status)


def _environment(reference: str | None, settings: Settings) -> "EnvironmentForRun":
    from envbuild.registry.curated import ensure_curated, is_curated
    from envbuild.registry.register import find_environment
    from envbuild.trainer.submit import EnvironmentForRun

    if reference and is_curated(reference):
        reference = ensure_curated(reference, settings, output.reporter()).reference
    environment, how = find_environment(settings, reference)
    if how != "named":
        output.note(f"environment {environment.reference} ({how})")
    return EnvironmentForRun(environment.name, environment.version, environment.record["image"]["digest"])


def _timeout(text: str | None) -> float | None:
    from envbuild.trainer.duration import parse_duration

    seconds = parse_duration(text, "--timeout") if text is not None else None
    if seconds is not None and seconds < 1:
        raise InputError(f"--timeout {text!r} is too short; give a job at least 1s")
    return seconds


def _mount(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not name.isidentifier():
        raise InputError(f"--mount {text!r} is not NAME=PATH, for instance data=../data")
    if not Path(path).exists():
        raise InputError(f"--mount {text!r}: {path} does not exist")
    return name, Path(path).resolve()


def show_piece(piece: bytes) -> None:
    """A piece of a run's log, as it is."""
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
