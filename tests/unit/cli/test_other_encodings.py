"""A terminal that is not UTF-8 shows what it can, and escapes for the rest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envbuild.trainer.run import create_run, update_run


@pytest.mark.parametrize("encoding", ["iso8859-5", "utf-8"])
@pytest.mark.parametrize("line", ["list", "show last", "metrics last", "tag last", "compare last"])
def test_names_that_a_terminal_cannot_show_are_escaped(tmp_path: Path, line: str, encoding: str) -> None:
    run = create_run(tmp_path, "digits", {"script": "train.py", "parameters": {"å": "é"}, "tags": {"å": "é"}})
    run.metrics_file.write_text(json.dumps({"k": "å", "v": 1.0, "s": 0, "t": 1.0}) + "\n")
    update_run(run, state="Completed")
    done = subprocess.run(
        [sys.executable, "-m", "envbuild", "runs", *line.split()],
        env={**os.environ, "ENVBUILD_HOME": str(tmp_path), "PYTHONIOENCODING": encoding},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ("å" if encoding == "utf-8" else "\\xe5") in done.stdout


def test_closed_streams_are_no_error(tmp_path: Path) -> None:
    line = f"exec {sys.executable} -m envbuild runs list --json >&- 2>&-"
    env = {**os.environ, "ENVBUILD_HOME": str(tmp_path)}
    assert subprocess.run(["sh", "-c", line], env=env, check=False).returncode == 0


def test_a_question_that_nobody_can_answer_says_so(tmp_path: Path) -> None:
    update_run(create_run(tmp_path, "digits", {"script": "train.py"}), state="Completed")
    line = f"exec {sys.executable} -m envbuild runs remove last <&-"
    env = {**os.environ, "ENVBUILD_HOME": str(tmp_path)}
    done = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "error: nobody answers the question here; say --yes")


def test_an_output_without_room_says_that_there_is_none(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "envbuild", "runs", "list", "--json"], stdout=full, stderr=subprocess.PIPE,
            env={**os.environ, "ENVBUILD_HOME": str(tmp_path)}, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: what was being written did not fit: No space left on device; make room")
