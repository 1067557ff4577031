"""Puts the commands together, and turns every error into one sentence and an exit code."""

import os
import sys
from collections.abc import Sequence

import click
import typer

from envbuild import __version__
from envbuild.errors import EnvbuildError

from . import base, channel, doctor, env, export, register, run_command, runs

app = typer.Typer(
    name="envbuild",
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
doctor.add_to(app)
app.add_typer(env.app, name="env")
app.add_typer(runs.app, name="runs")
app.add_typer(base.app, name="base")
app.add_typer(channel.app, name="channel")


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        code = typer.main.get_command(app).main(args=list(arguments), prog_name="envbuild", standalone_mode=False)
    except EnvbuildError as error:
        _complain(str(error))
        if error.log:
            sys.stderr.write(f"The log tells more: {error.log}\n")
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        typer.echo(error.format_message())
        return 2
    except click.ClickException as error:
        _complain(error.format_message())
        return 2
    except (KeyboardInterrupt, click.exceptions.Abort):
        _complain("interrupted; nothing is half done, run the same command again to go on")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        _complain(f"{error.filename or 'a file'}: {error.strerror or error}")
        return 1
    return code if isinstance(code, int) else 0


def _complain(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"error: {text}\n")
