"""A control script with the tutorial's seven steps, and data sets in runs: real jobs through the Python API."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conda_prefix import make_conda_prefix
from harness import Project, wait_for

from envbuild import Environment, Workspace
from envbuild.errors import NotFound
from envbuild.settings import Settings

CONTROL = """\
from envbuild import Environment, Experiment, ScriptRunConfig, Workspace

workspace = Workspace.from_config()
experiment = Experiment(workspace=workspace, name="day1-experiment-train")
config = ScriptRunConfig(source_directory="./src", script="train.py", arguments=["--lr", 0.1], compute_target="local")
config.run_config.environment = Environment.from_conda_specification(name="small", file_path="environment.yml")
run = experiment.submit(config)
print(run.get_portal_url())
details = run.wait_for_completion(show_output=True)
print(run.get_metrics(), details["status"], run.get_environment())
print(run.download_file("outputs/result.txt").read_text())
"""

TRAIN = """\
import sys
from envbuild import Run

run = Run.get_context()
for step in range(3):
    run.log("loss", 1.0 / (step + 1))
run.log("accuracy", 0.5)
run.log_row("point", x=1, y=2)
print("trained", sys.argv[1:])
with open("outputs/result.txt", "w") as file:
    file.write("done")
"""


@pytest.fixture(scope="module")
def conda_prefix(channel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_conda_prefix(channel, tmp_path_factory.mktemp("conda") / "old-env")


def python(project: Project, script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, project.write("control.py", script)],
        cwd=project.folder,
        env={**os.environ, "ENVBUILD_HOME": str(project.home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_control_script_builds_runs_follows_and_reads(project: Project) -> None:
    project.write("src/train.py", TRAIN)
    done = python(project, CONTROL)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"file://{project.home}/runs/day1-experiment-train/")
    assert "trained ['--lr', '0.1']" in lines
    loss = [1.0, 0.5, 1.0 / 3]
    assert lines[-2] == (
        f"{{'loss': {loss}, 'accuracy': 0.5, 'point': {{'x': 1, 'y': 2}}}} Completed "
        "Environment(name='small', version=1)"
    )
    assert lines[-1] == "done"
    (folder,) = (project.home / "runs/day1-experiment-train").iterdir()
    assert "done in" in (folder / "20_image_build_log.txt").read_text()
    assert python(project, CONTROL).returncode == 0
    assert [each["version"] for each in project.json("env", "list")] == [1]
    workspace = Workspace("mine", Settings(home=project.home))
    assert Environment.get(workspace, "small", 1).version == 1
    with pytest.raises(NotFound):
        Environment.get(workspace, "small", 0)


def test_submitting_returns_at_once_and_the_build_log_grows_in_the_run(project: Project) -> None:
    project.write("src/train.py", TRAIN)
    script = CONTROL[: CONTROL.index("details")] + "print(run.get_status(), run.id)\n"
    done = python(project, script)
    assert done.returncode == 0, done.stderr
    state, run = done.stdout.split()[-2:]
    assert state in ("Queued", "Preparing")
    wait_for(lambda: project.json("runs", "show", run)["state"] == "Completed")


def test_a_build_that_fails_fails_the_run_and_its_log_says_why(project: Project) -> None:
    project.write("src/train.py", TRAIN)
    project.write(
        "environment.yml", "name: small\nchannels: [defaults]\ndependencies: [python=3.11, no-such-package]\n"
    )
    done = python(project, CONTROL)
    assert done.returncode == 1
    assert "envbuild.errors.EnvbuildError: the run" in done.stderr and "is Failed" in done.stderr
    record = project.json("runs", "show", "last")
    assert "no-such-package" in record["reason"]
    (folder,) = (project.home / "runs/day1-experiment-train").iterdir()
    assert "no-such-package" in (folder / "20_image_build_log.txt").read_text()


def test_a_run_is_canceled_tagged_and_restored_by_a_script(registered: Project) -> None:
    registered.write("src/train.py", "import time\nprint('ready', flush=True)\ntime.sleep(120)\n")
    done = python(
        registered,
        "import time\nfrom envbuild import Experiment, ScriptRunConfig, Workspace\n"
        "experiment = Experiment(Workspace.from_config(), 'life')\n"
        "run = experiment.submit(ScriptRunConfig('src', 'train.py'), tags={'kind': 'test'})\n"
        "while run.status != 'Running':\n    time.sleep(0.05)\n"
        "run.tag('seen')\nrun.cancel(grace=1)\n"
        "print(run.status, run.get_tags(), [each.id == run.id for each in experiment.get_runs({'kind': 'test'})])\n"
        "print(run.restore_snapshot('again').joinpath('train.py').read_text() == open('src/train.py').read())\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Canceled {'kind': 'test', 'seen': ''} [True]\nTrue\n"


def test_a_data_set_is_mounted_by_name_and_recorded(registered: Project) -> None:
    registered.write("numbers/values.txt", "1 2 3")
    registered.write(
        "src/read.py",
        "import sys\nfile = sys.argv[1] + '/values.txt'\nprint(open(file).read())\ntry:\n    open(file, 'a')\n"
        "except OSError:\n    print('refused')\n",
    )
    put = registered.json("data", "put", "numbers", "numbers")
    assert (put["version"], put["files"], put["status"]) == (1, 1, "new")
    assert registered.json("data", "put", "numbers", "numbers")["status"] == "known"
    registered.write("numbers/values.txt", "4 5 6")
    assert registered.json("data", "put", "numbers", "numbers")["version"] == 2
    done = registered.envbuild("run", "--json", "--data", "numbers:1", "src", "read.py", "{numbers}")
    record = json.loads(done.stdout)
    assert (record["data"]["numbers"]["version"], record["data"]["numbers"]["digest"]) == (1, put["digest"])
    assert registered.envbuild("runs", "logs", "last").stdout == "1 2 3\nrefused\n"
    again = registered.envbuild("runs", "rerun", "last")
    assert again.stdout == "1 2 3\nrefused\n", again.stderr
    assert registered.envbuild("data", "remove", "--yes", "numbers:1").returncode == 0
    gone = registered.envbuild("runs", "rerun", "last")
    assert (gone.returncode, "numbers has no version '1'" in gone.stderr) == (2, True)
    twice = registered.envbuild("run", "--data", "numbers", "--mount", "numbers=src", "src", "read.py", "{numbers}")
    assert (twice.returncode, "names two mounts" in twice.stderr) == (2, True)


def test_the_control_script_sees_no_files_outside_of_the_run(registered: Project) -> None:
    registered.write(
        "src/link.py", "import os\nos.symlink('/etc/passwd', 'outputs/users')\nopen('outputs/ok', 'w').close()\n"
    )
    assert registered.envbuild("run", "src", "link.py").returncode == 0
    done = python(
        registered,
        "from envbuild import EnvbuildError, Run, Workspace\nrun = Run.get(Workspace.from_config(), 'last')\n"
        "print([name for name in run.get_file_names() if name.startswith('outputs/')])\n"
        "for name in ('outputs/users', '../../../x', '/etc/passwd'):\n"
        "    try:\n        run.download_file(name)\n    except EnvbuildError as error:\n        print('refused')\n",
    )
    assert done.stdout == "['outputs/ok']\nrefused\nrefused\nrefused\n", done.stderr


def test_an_existing_conda_environment_is_registered_saved_and_loaded(project: Project, conda_prefix: Path) -> None:
    script = (
        "import os, sys\nfrom envbuild import Environment, Experiment, ScriptRunConfig, Workspace\n"
        "ws = Workspace.from_config()\n"
        f"env = Environment.from_existing_conda_environment('mine', {str(conda_prefix)!r})\n"
        "env.environment_variables = {'SEED': '7'}\n"
        "env.save_to_directory('before')\n"
        "print(env.register(ws), sorted(os.listdir('before')))\n"
        "env.save_to_directory('saved')\n"
        "print(sorted(os.listdir('saved')))\n"
        "again = Environment.load_from_directory('before')\n"
        "print(again.register(ws))\n"
        "loaded = Environment.load_from_directory('saved')\n"
        "print(loaded, loaded.environment_variables)\n"
        "config = ScriptRunConfig('src', 'show.py', environment=loaded)\n"
        "run = Experiment(ws, 'conda').submit(config)\n"
        "run.wait_for_completion(show_output=True)\n"
        "print(run.get_environment())\n"
    )
    project.write(
        "src/show.py",
        "import os, six, jinja2\nprint(six.__version__, os.environ['SEED'], os.environ['OMP_NUM_THREADS'])\n",
    )
    done = python(project, script)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Environment(name='mine', version=1) ['envbuild.json', 'spec.yml']"
    assert lines[1] == "['conda-lock.yml', 'envbuild.json', 'spec.yml']"
    assert lines[2] == "Environment(name='mine', version=1)"  # the same content is no new version
    assert lines[3] == "Environment(name='mine', version=None) {'SEED': '7'}"
    assert "1.16.0 7 4" in lines
    assert lines[-1] == "Environment(name='mine', version=1)"
