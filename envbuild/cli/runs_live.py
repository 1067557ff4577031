"""`envbuild runs logs`, `cancel` and `rerun`: following a run and steering it"""

from typing import Annotated

import typer

from envbuild.errors import InputError
from envbuild.settings import load_settings

from . import output
from .run_command import show_piece, start
from .runs import Run


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild runs logs -f last")(logs)
    app.command(epilog="Example: envbuild runs cancel last --grace 60s")(cancel)
    app.command(
        context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True},
        epilog="Example: envbuild runs rerun --detach last --lr 0.01",
    )(rerun)


def logs(
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print what comes, until the run has ended.")] = False,
) -> None:
    """Print a run's 70_driver_log.txt, byte for byte."""
    from envbuild.trainer.follow import follow_log, read_log
    from envbuild.trainer.run import load_run

    record = load_run(load_settings().home, run)
    try:
        for piece in follow_log(record) if follow else read_log(record):
            show_piece(piece)
    except KeyboardInterrupt:
        if not follow:
            raise
        output.note(f"the run goes on; to end it: envbuild runs cancel {record.run_id}")
        raise typer.Exit(130) from None


def cancel(
    run: Run,
    grace: Annotated[str, typer.Option(metavar="TIME", help="How long the job may take to end by itself.")] = "10s",
    lost: Annotated[
        bool, typer.Option("--lost", help="Record it as Lost: the machine that supervised it is gone for good.")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Ask a run's job to end (SIGTERM), wait, kill it."""
    from envbuild.trainer.cancel import cancel
    from envbuild.trainer.duration import parse_duration
    from envbuild.trainer.run import give_up, load_run

    seconds = parse_duration(grace, "--grace")
    record = load_run(load_settings().home, run)
    record = give_up(record) if lost else cancel(record, seconds)
    if as_json:
        output.print_json(record.document)
    else:
        typer.echo(f"{record.experiment}/{record.run_id}  {output.state(record)}")


def rerun(
    run: Run,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGS", help="Arguments of the script that replace those of the same name."),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return at once; the run goes on in the background.")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Run again what a run ran: the same image, code and mounts; arguments may be changed.

    Options go before RUN: everything after it belongs to the script.
    """
    from envbuild.trainer.run import load_run
    from envbuild.trainer.submit import resubmit

    if arguments and arguments[0] == "--":
        arguments = arguments[1:]
    if any(argument in ("--detach", "--json") for argument in arguments or ()):
        raise InputError("options of rerun go before RUN: envbuild runs rerun --detach RUN")
    settings = load_settings()
    start(resubmit(load_run(settings.home, run), arguments or (), settings), settings, detach, as_json)
