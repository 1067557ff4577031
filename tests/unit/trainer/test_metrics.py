"""metrics.jsonl as jobs write it, read by us; the capture is the real one, in a process of its own."""

import math
import os
import subprocess
import sys
from pathlib import Path

from envbuild.trainer.metrics import Point, read_metrics

JOB = Path(__file__).resolve().parents[3] / "trainer/job"


def run_script(folder: Path, script: str, **env: str) -> "subprocess.CompletedProcess[str]":
    # -S -s -E would drop PYTHONPATH: a folder of its own and no site-packages is what an image has
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(JOB), "ENVBUILD_RUN_DIR": str(folder),
             "ENVBUILD_RUN_ID": "run1", "PYTHONDONTWRITEBYTECODE": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def test_no_file_is_no_metrics(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == {}


def test_points_keep_their_order_step_and_time(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"k":"loss","v":2.5,"s":0,"t":10.0}\n{"k":"loss","v":1.5,"s":7,"t":11.0,"rank":1,"new":0}\n')
    assert read_metrics(file) == {"loss": [Point(0, 2.5, 10.0), Point(7, 1.5, 11.0, rank=1)]}


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"k":"loss","v":2.5,"s":0,"t":10.0}\n{"k":"loss","v":1.')
    assert len(read_metrics(file)["loss"]) == 1


def test_what_is_no_number_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"k":"a","v":"NaN","s":0,"t":1}\n{"k":"b","v":"-Infinity","s":0,"t":1}\n')
    found = read_metrics(file)
    assert math.isnan(found["a"][0].value)
    assert found["b"][0].value == -math.inf


def test_an_azure_script_is_captured_unedited(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        "from azureml.core import Run\nrun = Run.get_context()\n"
        "run.log('loss', 2.0)\nrun.log('loss', 1.0)\nrun.log('loss', 0.5, step=9)\nrun.log_list('sizes', [1, 2])\n"
        "run.log_row('point', x=1, y=2)\nrun.tag('kind', 'test')\n",
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = read_metrics(tmp_path / "metrics.jsonl")
    assert [(point.step, point.value) for point in found["loss"]] == [(0, 2.0), (1, 1.0), (9, 0.5)]
    assert [(point.kind, point.value) for point in found["sizes"]] == [("list", [1, 2])]
    assert [(point.kind, point.value) for point in found["point"]] == [("row", {"x": 1, "y": 2})]
    assert found["tags"][0].value == {"kind": "test"}


def test_an_uploaded_file_stays_in_the_outputs(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_text("weights")
    done = run_script(
        tmp_path,
        "from azureml.core import Run\nRun.get_context().upload_file('../../m/model.bin', 'model.bin')\n",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs/m/model.bin").read_text() == "weights"


def test_a_record_that_cannot_be_written_stops_no_training(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        "from azureml.core import Run\nRun.get_context().log('loss', 1.0)\nprint('trained')\n",
        ENVBUILD_RUN_DIR=str(tmp_path / "absent"),
    )
    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert "metrics are no longer captured" in done.stderr


def test_a_package_of_the_environment_wins_over_ours(tmp_path: Path) -> None:
    (tmp_path / "azureml/core").mkdir(parents=True)
    (tmp_path / "azureml/__init__.py").touch()
    (tmp_path / "azureml/core/__init__.py").write_text("Run = 'theirs'\n")
    done = run_script(tmp_path, "from azureml.core import Run\nprint(Run)\n")
    assert done.stdout == "theirs\n", done.stderr


def test_the_hidden_sitecustomize_still_runs(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text("print('theirs')\n")
    done = run_script(tmp_path, "print('job')", PYTHONPATH=f"{JOB}:{tmp_path / 'hidden'}")
    assert done.stdout == "theirs\njob\n", done.stderr
