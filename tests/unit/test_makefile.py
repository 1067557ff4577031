"""`make register` and `make run` work in the folder of the project that they are given."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ENVBUILD = """\
#!/bin/sh
printf '%s\\n' "$(basename "$PWD")" "$@"
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["register", "ENV={}/proj/environment.yml"], ["proj", "register", "environment.yml"]),
        (["register", "ENV={}/my proj/an environment.yml"], ["my proj", "register", "an environment.yml"]),
        (
            ["run", "SOURCE={}/proj/src/", "SCRIPT=a.py", "ARGS=--epochs 2"],
            ["proj", "run", "src", "a.py", "--epochs", "2"],
        ),
        (
            ["run", "SOURCE={}/my proj/the src", "OPTIONS=--detach"],
            ["my proj", "run", "--detach", "the src", "train.py"],
        ),
    ],
)
def test_the_command_is_run_in_the_folder_of_the_project(tmp_path: Path, line: list[str], expected: list[str]) -> None:
    for name in ("proj", "my proj", "programs"):
        (tmp_path / name).mkdir()
    (tmp_path / "programs/envbuild").write_text(ENVBUILD)
    (tmp_path / "programs/envbuild").chmod(0o755)
    given = [each.format(tmp_path) for each in line]
    programs = os.path.relpath(tmp_path / "programs", ROOT)
    done = subprocess.run(
        ["make", "--silent", "--old-file", ".venv/.installed", f"BIN={programs}", *given],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")
