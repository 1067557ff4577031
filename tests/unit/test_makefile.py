"""`make register` and `make run` work in the folder of the project that they are given."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("register ENV=proj/environment.yml", "cd proj/ && {envbuild} register environment.yml"),
        ("register ENV=environment.yml", "cd ./ && {envbuild} register environment.yml"),
        ("run SOURCE=proj/src/ SCRIPT=a.py ARGS='--epochs 2'", "cd proj/ && {envbuild} run src a.py --epochs 2"),
        ("run SOURCE=src OPTIONS=--detach", "cd ./ && {envbuild} run --detach src train.py"),
    ],
)
def test_the_command_is_run_in_the_folder_of_the_project(line: str, command: str) -> None:
    done = subprocess.run(f"make -n {line}", shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    shown = [" ".join(each.split()) for each in done.stdout.splitlines()]
    assert command.format(envbuild=f'"{ROOT}/.venv/bin/envbuild"') in shown
