"""The tutorial's six control scripts, unedited, through `envbuild azureml`; with torch as the slow one."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Project, wait_for

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "examples" / "azureml-tutorial"

STAND_IN = """\
import argparse
from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--data_path")
parser.add_argument("--learning_rate", type=float, default=0.001)
parser.add_argument("--momentum", type=float)
arguments = parser.parse_args()
run = Run.get_context()
for step in range(3):
    run.log("loss", 1.0 / (step + 1))
if arguments.data_path:
    print(open(arguments.data_path + "/values.txt").read(), arguments.learning_rate, arguments.momentum)
print("Finished Training")
"""


@pytest.fixture
def tutorial(project: Project) -> Project:
    """The tutorial's folder, with a training script that needs no torch, in an environment without it."""
    shutil.copytree(TUTORIAL / "src", project.folder / "src")
    for script in TUTORIAL.glob("0*.py"):
        shutil.copy(script, project.folder)
    project.write("src/train.py", STAND_IN)
    project.write(".azureml/pytorch-env.yml", "channels: [defaults]\ndependencies: [python=3.11, jinja2]\n")
    project.write("data/values.txt", "1 2 3")
    return project


def azureml(project: Project, script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    done = project.envbuild("azureml", script, *arguments)
    assert done.returncode == 0, done.stderr
    return done


def completed(project: Project) -> str:
    """The log of the newest run, once it has ended well."""
    wait_for(lambda: project.json("runs", "show", "last")["state"] not in ("Queued", "Preparing", "Running"))
    record = project.json("runs", "show", "last")
    assert record["state"] == "Completed", record
    return project.envbuild("runs", "logs", "last").stdout


def test_the_six_scripts_of_the_tutorial_run_unedited(tutorial: Project) -> None:
    assert azureml(tutorial, "01-create-workspace.py").stdout == "workspace tutorial\n"
    assert json.loads((tutorial.folder / ".azureml/config.json").read_text())["workspace_name"] == "tutorial"

    assert azureml(tutorial, "02-create-compute.py").stdout.startswith("created cpu-cluster\n")
    assert azureml(tutorial, "02-create-compute.py").stdout.startswith("found cpu-cluster\n")

    hello = azureml(tutorial, "03-run-hello.py")
    assert "Hello world!" in hello.stdout.splitlines()
    assert "runs on this machine (target local)" in hello.stderr
    assert tutorial.json("runs", "show", "last")["environment"]["name"] == "azureml-default"

    submitted = azureml(tutorial, "04-run-pytorch.py")
    assert submitted.stdout.startswith("file://")
    assert completed(tutorial) == "Finished Training\n"
    assert [point["value"] for point in tutorial.json("runs", "metrics", "last")["metrics"]["loss"]] == [1, 0.5, 1 / 3]

    azureml(tutorial, "05-upload-data.py")
    azureml(tutorial, "06-run-pytorch-data.py")
    assert completed(tutorial) == "1 2 3 0.003 0.92\nFinished Training\n"
    record = tutorial.json("runs", "show", "last")
    assert (record["experiment"], record["environment"]["name"]) == ("day1-experiment-data", "pytorch-env")
    assert record["parameters"] == {"data_path": "{input}", "learning_rate": 0.003, "momentum": 0.92}


def test_the_sdk_s_other_ways_to_say_the_same(tutorial: Project) -> None:
    tutorial.write(
        "other.py",
        "import sys\n"
        "from azureml.core import Workspace, Datastore\n"
        "from azureml.core.authentication import InteractiveLoginAuthentication\n"
        "from azureml.core.conda_dependencies import CondaDependencies\n"
        "from azureml.core.dataset import Dataset\n"
        "from azureml.core.environment import Environment\n"
        "from azureml.core.experiment import Experiment\n"
        "from azureml.core.runconfig import RunConfiguration\n"
        "from azureml.core.script_run_config import ScriptRunConfig\n"
        "import azureml.core\n"
        "ws = Workspace.get(name='w', auth=InteractiveLoginAuthentication(tenant_id='x'), subscription_id='s',\n"
        "                   resource_group='r')\n"
        "env = Environment('made-here')\n"
        "env.python.conda_dependencies = CondaDependencies.create(conda_packages=['python=3.11', 'jinja2'])\n"
        "env.environment_variables = {'SEED': '7'}\n"
        "env.register(workspace=ws)\n"
        "print(Environment.get(ws, 'made-here').version, list(Environment.list(ws)), list(ws.environments))\n"
        "how = RunConfiguration()\nhow.environment = env\nhow.target = 'local'\n"
        "Dataset.File.upload_directory('data', (Datastore.get(ws, 'workspaceblobstore'), 'x'), show_progress=False)\n"
        "data = Dataset.File.from_files([(ws.get_default_datastore(), 'x')]).register(ws, 'numbers')\n"
        "arguments = [data.as_mount(), *sys.argv[1:]]\n"
        "config = ScriptRunConfig('src', script='seed.py', arguments=arguments, run_config=how)\n"
        "run = Experiment(ws, 'other').submit(config, tags={'a': '1'})\n"
        "details = run.wait_for_completion(show_output=False)\n"
        "print(details['status'], run.get_metrics(), run.number, run.get_tags())\n"
        "print([name for name in run.get_file_names() if name.startswith('azureml-logs/')])\n"
        "run.download_file('azureml-logs/70_driver_log.txt', 'log.txt')\nprint(open('log.txt').read())\n",
    )
    tutorial.write(
        "src/seed.py",
        "import os, sys\nfrom azureml.core import Run\nRun.get_context().log('a', 1)\n"
        "print(os.environ['SEED'], os.listdir(sys.argv[1]), sys.argv[2:])\n",
    )
    assert azureml(tutorial, "other.py", "--flag").stdout == (
        "1 ['made-here'] ['made-here']\n"
        "Completed {'a': 1} 1 {'a': '1'}\n"
        "['azureml-logs/20_image_build_log.txt', 'azureml-logs/70_driver_log.txt']\n"
        "7 ['values.txt'] ['--flag']\n\n"
    )
    record = tutorial.json("runs", "show", "last")
    assert (record["data"]["numbers"]["version"], record["tags"]) == (1, {"a": "1"})


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("from azureml.core import Modle", "azureml.core.Modle has no counterpart"),
        ("from azureml.core import Worksapce", "did you mean Workspace?"),
        ("import azureml.train.dnn", "the module azureml.train"),
        ("from azureml.pipeline.core import Pipeline", "the module azureml.pipeline"),
        (
            "from azureml.core import Workspace\nWorkspace.from_config().get_run('x')",
            "Workspace.get_run has no counterpart",
        ),
        ("from azureml.core import Dataset\nDataset.Tabular.from_delimited_files('x')", "use Dataset.File.from_files"),
        ("from azureml.core import ScriptRunConfig\nScriptRunConfig('.', command=['x'])", "has no counterpart here"),
        ("from azureml.core import Environment\nEnvironment.from_conda_specification('a', 'b.yml')", "is not a file"),
    ],
)
def test_what_has_no_counterpart_is_a_sentence(tutorial: Project, script: str, sentence: str) -> None:
    tutorial.write("bad.py", script + "\n")
    done = tutorial.envbuild("azureml", "bad.py")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert sentence in done.stderr


def test_a_script_s_own_errors_and_exit_codes_are_its_own(tutorial: Project) -> None:
    tutorial.write("wrong.py", "def inner():\n    return 1 / 0\n\n\ninner()\n")
    done = tutorial.envbuild("azureml", "wrong.py")
    assert done.returncode == 1
    assert done.stderr.startswith('Traceback (most recent call last):\n  File "wrong.py", line 5')
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    tutorial.write("ends.py", "import sys\nassert __name__ == '__main__'\nsys.exit(7)\n")
    assert tutorial.envbuild("azureml", "ends.py").returncode == 7
    assert tutorial.envbuild("azureml", "absent.py").returncode == 2


def test_a_failed_run_is_the_script_s_to_catch(tutorial: Project) -> None:
    tutorial.write("src/hello.py", "raise SystemExit(3)\n")
    azureml(tutorial, "01-create-workspace.py")
    done = tutorial.envbuild("azureml", "03-run-hello.py")
    assert (done.returncode, "is Failed (exit code 3)" in done.stderr) == (1, True), done.stderr


@pytest.mark.slow
def test_the_tutorial_trains_with_torch(project: Project, example_channel: Path) -> None:
    shutil.copytree(TUTORIAL, project.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("data", "config.json"))
    project.write(
        "envbuild.toml",
        f'[channels]\ndefaults = "{example_channel.as_uri()}"\npytorch = "{example_channel.as_uri()}"\n'
        '[virtual-packages]\nlinux-64 = { __glibc = "2.36" }\n',
    )
    make_data = [sys.executable, ROOT / "examples/cifar10/make_data.py", project.folder / "data"]
    subprocess.run(make_data, check=True, capture_output=True)
    azureml(project, "01-create-workspace.py")
    azureml(project, "02-create-compute.py")
    azureml(project, "05-upload-data.py")
    azureml(project, "06-run-pytorch-data.py")
    try:
        project.start("runs", "logs", "-f", "last").communicate()  # training takes what it takes
        log = completed(project)
    finally:
        project.envbuild("runs", "cancel", "last")  # has ended, unless something above failed
    assert log.endswith("Finished Training\n")
    losses = [point["value"] for point in project.json("runs", "metrics", "last")["metrics"]["loss"]]
    assert len(losses) >= 4 and losses[-1] < losses[0]


def test_an_environment_s_packages_are_seen_changed_saved_and_cloned(tutorial: Project) -> None:
    tutorial.write("requirements.txt", "six==1.16.0\n")
    tutorial.write(
        "packages.py",
        "from azureml.core import Environment, Workspace\n"
        "ws = Workspace.from_config()\n"
        "env = Environment.from_conda_specification('first', '.azureml/pytorch-env.yml')\n"
        "print(list(env.python.conda_dependencies.conda_packages))\n"
        "env.register(ws)\n"
        "env.python.conda_dependencies.add_conda_package('pygments')\n"
        "print(env.register(workspace=ws).version)\n"
        "got = Environment.get(workspace=ws, name='first', version='1')\n"
        "print('pygments' in got.python.conda_dependencies.serialize_to_string())\n"
        "for name, each in Environment.list(workspace=ws).items():\n"
        "    print(name, 'pygments' in each.python.conda_dependencies.serialize_to_string())\n"
        "copy = got.clone('second')\n"
        "copy.save_to_directory('saved')\n"
        "loaded = Environment.load_from_directory('saved')\n"
        "print(loaded.name, loaded.register(ws).version)\n"
        "pip = Environment.from_pip_requirements('third', 'requirements.txt')\n"
        "pip.save_to_directory('saved', overwrite=True)\n"
        "print(Environment.load_from_directory('saved').name, pip.python.conda_dependencies)\n",
    )
    assert azureml(tutorial, "packages.py").stdout.splitlines() == [
        "['python=3.11', 'jinja2']", "2", "False", "first True", "second 1", "third None",
    ]  # fmt: skip


WAITING = """\
from azureml.core import Experiment, ScriptRunConfig, Workspace

config = ScriptRunConfig(source_directory="src", script="wait.py", compute_target="local")
run = Experiment(workspace=Workspace.from_config(), name="waiting").submit(config)
run.wait_for_completion(show_output=True)
"""


def test_a_script_that_is_interrupted_names_the_run_that_goes_on(registered: Project) -> None:
    registered.write("src/wait.py", "import time\nprint('ready', flush=True)\ntime.sleep(120)\n")
    registered.write("control.py", WAITING)
    process = registered.start("azureml", "control.py")
    assert process.stdout is not None and "ready\n" in iter(process.stdout.readline, "")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    run = registered.json("runs", "show", "last")
    assert (process.returncode, run["state"]) == (130, "Running")
    told = f"the run {run['run_id']} goes on; to end it: envbuild runs cancel {run['run_id']}"
    assert stderr.splitlines()[-1] == told
    assert registered.json("runs", "cancel", "last")["state"] == "Canceled"
