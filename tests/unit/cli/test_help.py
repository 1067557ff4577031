"""Every command tells how it is used: a plain usage line, and an example."""

import subprocess
import sys

import pytest
import typer

from envbuild.cli.app import app

GROUP = typer.main.get_command(app)


def lines() -> list[str]:
    """Every command, as it is typed."""
    found = []
    for name, command in sorted(GROUP.commands.items()):  # type: ignore[attr-defined]
        found += [f"{name} {each}" for each in sorted(getattr(command, "commands", {}))] or [name]
    return found


def test_all_commands_are_looked_at() -> None:
    assert {"push", "runs tag", "env explain", "channel build"} <= set(lines())


@pytest.mark.parametrize("line", ["push", "shell", "run", "azureml", "env explain", "runs tag", "runs rerun"])
def test_what_may_be_left_out_stands_in_one_pair_of_brackets(line: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "envbuild", *line.split(), "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "[[" not in shown and "]]" not in shown.replace("[:TAG]]", "").replace("[:VERSION]]", "")


GROUPS = sorted({line.split()[0] for line in lines()})


@pytest.mark.parametrize("line", sorted({*lines(), *GROUPS}))
def test_every_command_has_an_example(line: str) -> None:
    command = GROUP
    for name in line.split():
        command = command.commands[name]  # type: ignore[attr-defined]
    assert str(command.epilog).startswith("Example: envbuild ")
