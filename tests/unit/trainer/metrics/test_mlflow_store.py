"""MLflow's files, written by MLflow itself in a process of its own, read by us."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envbuild.trainer.metrics import RunMetrics, SeriesKey, read_run

SCRIPT = """
import time
import mlflow

mlflow.log_param("lr", 0.1)
mlflow.log_param("text", "a\\nb ç")
for step in range(3):
    mlflow.log_metric("loss", 2.0 / (step + 1), step=step)
mlflow.log_metrics({"train/acc": float("nan"), "val acc": float("-inf")}, step=4)
mlflow.set_tag("kind", "test")
open("a.txt", "w").write("artifact")
mlflow.log_artifact("a.txt", "deep")
with mlflow.start_run(nested=True, run_name="fold 1") as child:
    mlflow.log_metric("loss", 9.0)
mlflow.end_run()
mlflow.set_experiment("another")
try:
    with mlflow.start_run(run_name="second"):
        mlflow.log_param("lr", 0.2)
        raise ValueError
except ValueError:
    pass
"""


def run_script(folder: Path, script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "MLFLOW_TRACKING_URI": (folder / "mlflow/mlruns").as_uri(),
            "MLFLOW_ALLOW_FILE_STORE": "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlflow")
    run_script(folder, SCRIPT)
    return folder


@pytest.fixture
def found(folder: Path) -> RunMetrics:
    return read_run(folder)


def key(name: str, run: str = "") -> SeriesKey:
    return SeriesKey(name, run, source="mlflow")


def test_the_points_are_there(found: RunMetrics) -> None:
    loss = found.series[key("loss")]
    assert (loss.steps, loss.values) == ([0, 1, 2], [2.0, 1.0, 2.0 / 3])
    assert all(1.7e9 < time < 1e10 for time in loss.times)
    assert math.isnan(found.series[key("train/acc")].values[0])
    assert found.series[key("val acc")].values == [-math.inf]
    assert found.series[key("val acc")].steps == [4]


def test_parameters_tags_artifacts_and_status_are_notes(folder: Path, found: RunMetrics) -> None:
    own = found.notes[""]
    assert own.parameters == {"lr": "0.1", "text": "a\nb ç"}
    assert own.tags == {"kind": "test"}
    assert own.status == "Completed"
    (artifact,) = own.artifacts
    assert artifact.endswith("/artifacts/deep/a.txt")
    assert (folder / artifact).read_text() == "artifact"


def test_other_runs_are_children(found: RunMetrics) -> None:
    by_name = {notes.name: (run, notes) for run, notes in found.notes.items() if run}
    nested, notes = by_name["fold 1"]
    assert (notes.parent, notes.status, found.series[key("loss", nested)].values) == ("", "Completed", [9.0])
    _, second = by_name["second"]
    assert (second.parent, second.status, second.parameters) == ("", "Failed", {"lr": "0.2"})


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    metrics = tmp_path / "mlflow/mlruns/0/abc/metrics"
    metrics.mkdir(parents=True)
    (tmp_path / "mlflow/mlruns/0/abc/meta.yaml").write_text("start_time: 1\nstatus: 1\n")
    (metrics / "loss").write_text("1000 2.5 0\n2000 1.")
    first = read_run(tmp_path)
    assert (first.series[key("loss")].values, first.series[key("loss")].times) == ([2.5], [1.0])
    with (metrics / "loss").open("a") as file:
        file.write("5 1\n")
    second = read_run(tmp_path, since=first.cursor)
    assert (second.series[key("loss")].steps, second.series[key("loss")].values) == ([1], [1.5])
    assert read_run(tmp_path, since=second.cursor).series == {}


def test_what_a_job_may_have_put_there_does_no_harm(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "password").write_text("1 2 3\n")
    run = tmp_path / "run"
    store = run / "mlflow/mlruns/0"
    for name in ("loop", "links", "wrong"):
        (store / name / "metrics").mkdir(parents=True)
        (store / name / "meta.yaml").write_text("start_time: 5\n")
        (store / name / "metrics/loss").write_text("x\n1\n1 y 0\n1 1e999 0\n9" + "9" * 400 + " 1 1\n1000 1.0 0\n")
    (store / "loop/tags").mkdir()
    (store / "loop/tags/mlflow.parentRunId").write_text("loop")
    for name in ("params", "tags", "artifacts"):
        (store / "links" / name).symlink_to(secret)
    (store / "wrong/meta.yaml").write_bytes(b"\xff\xfestart_time: 5")
    (store / "strange").symlink_to(secret)
    found = read_run(run)
    assert found.notes.keys() == {"", "loop"}
    assert (found.notes[""].parameters, found.notes[""].tags, found.notes[""].artifacts) == ({}, {}, ())
    assert found.notes["loop"].parent == ""
    assert found.series[key("loss")].values == [math.inf, 1.0]


def test_only_some_metrics_can_be_asked_for(folder: Path) -> None:
    found = read_run(folder, only=["train/acc"])
    assert (list(found.series), found.notes) == ([key("train/acc")], {})


def test_a_file_of_points_may_be_as_large_as_it_likes(tmp_path: Path) -> None:
    """With holes that costs a job nothing: eight terabytes without a line break."""
    metrics = tmp_path / "mlflow/mlruns/0/abc/metrics"
    metrics.mkdir(parents=True)
    (metrics.parent / "meta.yaml").write_text("start_time: 5\n")
    with (metrics / "loss").open("wb") as file:
        file.write(b"1000 0.5 3\n")
        file.seek(1 << 43)
        file.write(b"\n2000 0.25 4\n")
    assert read_run(tmp_path).series[key("loss")].values == [0.5, 0.25]


@pytest.mark.parametrize(
    "point", [f"1000 0.5 {1 << 63}", f"1000 0.5 {'9' * 100}", f"{10**15} 0.5 1", "1" * 400 + " 1 1"]
)
def test_a_point_whose_step_or_time_nothing_can_show_is_passed_over(tmp_path: Path, point: str) -> None:
    metrics = tmp_path / "mlflow/mlruns/0/abc/metrics"
    metrics.mkdir(parents=True)
    (metrics.parent / "meta.yaml").write_text("start_time: 5\n")
    (metrics / "loss").write_text(f"{point}\n1000 0.25 4\n")
    assert read_run(tmp_path).series[key("loss")].steps == [4]
