"""Puts the commands together, and turns every error into one sentence and an exit code."""

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from envbuild import __version__
from envbuild.errors import EnvbuildError

from . import (
    azureml,
    base,
    channel,
    curated,
    data,
    doctor,
    env,
    export,
    gc,
    import_command,
    load,
    pull,
    push,
    register,
    run_command,
    runs,
    runs_compare,
    runs_export,
    runs_live,
    runs_metrics,
    shell,
    studio,
    verify,
)


class _Commands(TyperGroup):
    """Ctrl-C reaches `run` as an Abort: Typer would make an exit code of it, like that of a canceled job."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().make_context(*args, **kwargs)
        except KeyboardInterrupt:
            raise typer.Abort from None

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Abort from None


app = typer.Typer(
    name="envbuild",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a conda environment file to a reproducible OCI image and a recorded training run. No daemon, no root.",
    epilog="Example: envbuild register pytorch-env.yml && envbuild run src/ train.py",
)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and end.", is_eager=True),
) -> None:
    if version:
        typer.echo(f"envbuild {__version__}")
        raise typer.Exit


register.add_to(app)
run_command.add_to(app)
export.add_to(app)
import_command.add_to(app)
shell.add_to(app)
push.add_to(app)
pull.add_to(app)
studio.add_to(app)
azureml.add_to(app)
load.add_to(app)
doctor.add_to(app)
gc.add_to(app)
verify.add_to(app)
runs_live.add_to(runs.app)
runs_metrics.add_to(runs.app)
runs_compare.add_to(runs.app)
runs_export.add_to(runs.app)
app.add_typer(env.app, name="env")
app.add_typer(runs.app, name="runs")
app.add_typer(data.app, name="data")
app.add_typer(base.app, name="base")
app.add_typer(curated.app, name="curated")
app.add_typer(channel.app, name="channel")


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; a reader of its output who has gone is Typer's to see (exit 1)."""
    try:
        os.getcwd()
    except FileNotFoundError:
        _complain("the folder that you are in is not there any more; go to another one (cd ..)")
        return 2
    try:
        code = typer.main.get_command(app).main(args=list(arguments), prog_name="envbuild", standalone_mode=False)
        sys.stdout.flush()
    except EnvbuildError as error:
        _complain(str(error))
        if error.log:
            sys.stderr.write(f"The log tells more: {error.log}\n")
        return error.exit_code
    except TyperException as error:
        message = error.format_message()
        if message.startswith("Usage: "):  # a group of commands named alone: its help
            typer.echo(message, err=True)
        else:
            _complain(message)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted; nothing is half done, run the same command again to go on")
        return 130
    except OSError as error:
        _complain(_told(error))
        return 1
    return code if isinstance(code, int) else 0


def _told(error: OSError) -> str:
    """Where the system failed, and what helps where it did not say: what was open was written, and the disk is full."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {reason}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"what was being written did not fit: {reason}; make room, also in ENVBUILD_HOME (envbuild gc), then go on"
        )
    return f"a file: {reason}"


def _complain(text: str) -> None:
    with suppress(OSError):  # it may be what the complaint is about
        sys.stdout.flush()
    sys.stderr.write(f"error: {text}\n")
