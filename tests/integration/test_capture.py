"""Metrics out of real jobs: with the real SDKs in the image and without, live, from several processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Project, copy_home, wait_for

from envbuild.trainer.metrics import RunMetrics, SeriesKey, read_run

AZURE = """\
import sys
from azureml.core import Run

run = Run.get_context()
for step in range(3):
    run.log("loss", 1.0 / (step + 1))
run.log("accuracy", 0.5, step=10)
run.log_list("sizes", [1, 2])
run.log_row("point", x=1, y=2)
run.log_table("table", {"x": [1, 2]})
run.log_confusion_matrix("confusion", {"schema_type": "confusion_matrix", "data": {}})
run.tag("model", "net")
with run.child_run(name="fold") as child:
    child.log("loss", 9.0)
with open("model.bin", "w") as file:
    file.write("weights")
run.upload_file("outputs/model.bin", "model.bin")
run.complete()
print("azureml.core" in sys.modules and getattr(sys.modules["azureml.core"], "__file__", None))
"""

MLFLOW = """\
import mlflow

mlflow.log_params({"lr": 0.1, "depth": 3})
for step in range(3):
    mlflow.log_metric("loss", 2.0 / (step + 1), step=step)
mlflow.set_tag("model", "net")
with open("report.txt", "w") as file:
    file.write("report")
mlflow.log_artifact("report.txt")
"""

TENSORBOARD = """\
from tensorboardX import SummaryWriter

with SummaryWriter() as writer:
    for step in range(3):
        writer.add_scalar("loss", 3.0 / (step + 1), step)
with SummaryWriter("outputs/events") as writer:
    writer.add_scalar("accuracy", 0.5, 7)
"""


PINS = {"azureml-core": "1.61.0.post4", "azureml-mlflow": "1.62.0.post6", "tensorboardX": "2.6.5"}


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, channel: Path, seed: Path) -> Callable[[str], Project]:
    """Makes a project whose environment has Python and what is named of PyPI, registered."""
    folder = tmp_path_factory.mktemp("capture")
    copy_home(seed, folder / "home")

    def register(*packages: str) -> Project:
        project = Project(folder / ("-".join(packages) or "plain"), folder / "home")
        if not project.folder.exists():
            text = (
                f'[channels]\ndefaults = "{channel.as_uri()}"\n[virtual-packages]\nlinux-64 = {{ __glibc = "2.36" }}\n'
            )
            project.write("envbuild.toml", text)
            pip = "".join(f"\n  - {package}=={PINS[package]}" for package in packages)
            lines = "channels: [defaults]\ndependencies:\n- python=3.11\n" + (f"- pip\n- pip:{pip}\n" if pip else "")
            project.write("environment.yml", f"name: {project.folder.name}\n{lines}")
            project.json("register", "environment.yml")
        return project

    return register


def run(project: Project, script: str, *arguments: str) -> tuple[RunMetrics, Path]:
    """What `script` logs in a job, and the run's folder."""
    project.write("src/train.py", script)
    done = project.envbuild("run", "src", "train.py", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (project.home / "runs").glob(f"*/{project.json('runs', 'show', 'last')['run_id']}")
    return read_run(folder), folder


def values(found: RunMetrics, name: str) -> list[float]:
    series = found.main(name)
    assert series is not None
    return series.values


@pytest.mark.parametrize(
    "package", ["", "azureml-core", "azureml-mlflow"], ids=["no SDK", "azureml-core", "azureml-mlflow"]
)
def test_an_azure_script_is_captured_whatever_sdk_is_in_the_image(make: Callable[..., Project], package: str) -> None:
    project = make(*[package] if package else [])
    found, folder = run(project, AZURE)
    real = (folder / "70_driver_log.txt").read_text()
    assert ("-packages/azureml/core/__init__.py" in real) == (package == "azureml-core")
    assert values(found, "loss") == [1.0, 0.5, 1.0 / 3]
    accuracy = found.main("accuracy")
    assert accuracy is not None and (accuracy.steps, accuracy.values) == ([10], [0.5])
    assert [(entry.kind, entry.name) for entry in found.entries] == [
        ("list", "sizes"), ("row", "point"), ("table", "table"), ("confusion_matrix", "confusion"),
    ]  # fmt: skip
    assert found.notes[""].tags == {"model": "net"}
    ((child, notes),) = ((child, notes) for child, notes in found.notes.items() if child)
    assert (notes.name, notes.status, found.series[SeriesKey("loss", child)].values) == ("fold", "Completed", [9.0])
    assert (folder / "outputs/model.bin").read_text() == "weights"


def test_an_mlflow_script_is_captured_unedited(make: Callable[..., Project]) -> None:
    project = make("azureml-mlflow")
    found, folder = run(project, MLFLOW)
    assert found.series[SeriesKey("loss", source="mlflow")].values == [2.0, 1.0, 2.0 / 3]
    notes = found.notes[""]
    assert (notes.parameters, notes.tags, notes.status) == ({"lr": "0.1", "depth": "3"}, {"model": "net"}, "Completed")
    (artifact,) = notes.artifacts
    assert (folder / artifact).read_text() == "report"
    assert not list(folder.rglob("*.db"))
    shown: Any = project.json("runs", "metrics", "last")
    assert [point["value"] for point in shown["metrics"]["loss"]] == [2.0, 1.0, 2.0 / 3]


def test_event_files_are_read_from_where_a_writer_puts_them(make: Callable[..., Project]) -> None:
    found, folder = run(make("tensorboardX"), TENSORBOARD)
    assert values(found, "loss") == [3.0, 1.5, 1.0]
    assert found.series[SeriesKey("accuracy", "events", source="tensorboard")].steps == [7]
    assert list((folder / "tensorboard").glob("*/events.out.tfevents.*"))


def test_each_record_is_there_while_the_job_waits_for_its_reader(make: Callable[..., Project]) -> None:
    project = make()
    project.write(
        "src/live.py",
        "import os, time\nfrom envbuild import Run\n"
        "for step in range(20):\n"
        "    Run.get_context().log('time', time.time())\n"
        "    while not os.path.exists('outputs/seen-%d' % step):\n        time.sleep(0.01)\n",
    )
    started = project.envbuild("run", "--detach", "src", "live.py")
    assert started.returncode == 0, started.stderr
    (folder,) = (project.home / "runs").glob(f"*/{started.stdout.strip()}")
    found = RunMetrics()
    for step in range(20):

        def arrived(step: int = step) -> bool:
            found.extend(read_run(folder, since=found.cursor))
            return len(found.series) == 1 and len(values(found, "time")) == step + 1

        wait_for(arrived, pause=0.005)
        (folder / f"outputs/seen-{step}").touch()
    wait_for(lambda: project.json("runs", "show", folder.name)["state"] == "Completed")


def test_ranks_and_workers_of_a_job_have_curves_of_their_own(make: Callable[..., Project]) -> None:
    script = (
        "import multiprocessing, os, subprocess, sys\nfrom azureml.core import Run\n\n"
        "def work(value):\n    Run.get_context().log('score', value)\n\n"
        "if __name__ == '__main__':\n"
        "    if 'RANK' in os.environ:\n        work(float(os.environ['RANK']))\n        sys.exit()\n"
        "    for rank in ('1', '0'):\n"
        "        subprocess.run([sys.executable, __file__], env=dict(os.environ, RANK=rank), check=True)\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n        pool.map(work, [7.0])\n"
        "    work(9.0)\n"
    )
    found, _ = run(make(), script)
    by_rank = {key.rank: series.values for key, series in found.series.items() if key.rank is not None}
    assert by_rank == {0: [0.0], 1: [1.0]}
    assert [series.values for key, series in found.series.items() if key.process] == [[7.0]]
    assert values(found, "score") == [9.0]


def test_the_metrics_command_shows_every_kind(make: Callable[..., Project]) -> None:
    project = make()
    run(project, AZURE)
    shown = project.envbuild("runs", "metrics", "last").stdout
    assert "loss" in shown and "confusion_matrix" in shown
    document = project.json("runs", "metrics", "last", "--name", "sizes")
    assert (document["metrics"], document["other"][0]["value"]) == ({}, [1, 2])
    wrong = project.envbuild("runs", "metrics", "last", "--name", "los")
    assert (wrong.returncode, "did you mean loss?" in wrong.stderr) == (2, True)
