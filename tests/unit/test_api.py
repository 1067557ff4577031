"""The Python API before anything runs: loaded lazily, and what cannot be right is a sentence."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import envbuild
from envbuild import Dataset, Environment, Experiment, Run, ScriptRunConfig, Workspace
from envbuild.api.experiment import _request
from envbuild.errors import EnvbuildError, InputError, NotFound
from envbuild.trainer.run import create_run
from envbuild.trainer.supervision import process_start


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("ENVBUILD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/train.py").touch()
    (tmp_path / "env.yml").write_text("dependencies: [python=3.11]\n")
    return Workspace.create("mine")


def test_importing_loads_nothing() -> None:
    line = "import sys, envbuild; print([name for name in sys.modules if name.startswith('envbuild')])"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "['envbuild']\n"


def test_every_name_is_there_and_others_are_not() -> None:
    assert all(getattr(envbuild, name).__doc__ for name in envbuild.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Experimnet'"):
        _ = envbuild.Experimnet


def test_a_workspace_is_written_down_and_found_from_below(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.write_config()
    monkeypatch.setenv("ENVBUILD_HOME", str(tmp_path / "other"))
    monkeypatch.chdir(tmp_path / "src")
    found = Workspace.from_config()
    assert (found.name, found.home) == ("mine", tmp_path / "home")
    with pytest.raises(NotFound, match="is no workspace's file"):
        Workspace.from_config(tmp_path / "absent")


def test_a_damaged_workspace_file_is_a_sentence(workspace: Workspace) -> None:
    workspace.write_config().write_text("[]")
    with pytest.raises(InputError, match="write it anew by write_config"):
        Workspace.from_config()


def test_what_a_config_asks_for_becomes_the_request(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    data = Dataset.from_files("data")
    config = ScriptRunConfig("src", "train.py", ["--lr", 0.1, "--data", data.as_named_input("input").as_mount()])
    environment = Environment.from_conda_specification("mine", "env.yml")
    environment.environment_variables["SEED"] = "1"
    config.run_config.environment = environment
    request = _request(config, "digits", workspace.settings)
    assert request.arguments == ("--lr", "0.1", "--data", "{input}")
    assert request.mounts == (("input", tmp_path / "data"),)
    assert dict(request.variables) == {"SEED": "1"}
    assert vars(request.environment) == {"name": "mine", "kind": "file", "source": str(tmp_path / "env.yml")}


def test_how_a_script_is_run_becomes_the_request_too(workspace: Workspace) -> None:
    config = ScriptRunConfig("src", "train.py", environment=described(), max_run_duration_seconds=60)
    config.run_config.gpus, config.run_config.cpus, config.run_config.network = "0,1", 2, False
    request = _request(config, "digits", workspace.settings)
    assert (request.gpus, request.cpus, request.network, request.timeout) == ("0,1", 2, False, 60)


def test_a_target_s_settings_count_for_scripts_too(workspace: Workspace) -> None:
    tables = {"big": {"type": "docker", "shm-size": "1GiB"}, "docker": {"host": "x"}}
    settings = replace(workspace.settings, targets=tables)
    assert Workspace("mine", settings).compute_targets == {"local": "local", "docker": "docker", "big": "docker"}
    config = ScriptRunConfig("src", "train.py", environment=described(), compute_target="big")
    assert _request(config, "digits", settings).shm_size == 1 << 30
    config.run_config.shm_size = 7
    assert _request(config, "digits", settings).shm_size == 7


def test_a_silent_run_is_waited_for_no_longer_than_asked(workspace: Workspace) -> None:
    process = {"pid": os.getpid(), "start": process_start(os.getpid())}
    record = create_run(workspace.home, "digits", {"process": process, "state": "Running"})
    with pytest.raises(EnvbuildError, match="is still Running"):
        Run.get(workspace, record.run_id).wait_for_completion(show_output=True, timeout_seconds=0.3)


def test_a_registered_data_set_is_named_by_its_version(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").write_text("1")
    data = Dataset.from_files("data").register(workspace, "numbers")
    assert Dataset.get_by_name(workspace, "numbers") == data
    config = ScriptRunConfig("src", "train.py", [data.as_mount()])
    config.run_config.environment = Environment.from_conda_specification("mine", "env.yml")
    assert _request(config, "digits", workspace.settings).data == (("numbers", "numbers:1"),)


def test_uploaded_data_is_kept_once_and_stays(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "data/sub").mkdir(parents=True)
    (tmp_path / "data/sub/a").write_text("1")
    store = workspace.get_default_datastore()
    assert store.upload("data", "datasets/x", show_progress=False) == 1
    (tmp_path / "data/sub/a").write_text("2")
    assert store.upload("data", "datasets/x", show_progress=False) == 0
    assert (Dataset.from_files((store, "datasets/x")).folder / "sub/a").read_text() == "1"
    assert store.upload("data", "datasets/x", overwrite=True, show_progress=False) == 1
    assert (store.folder / "datasets/x/sub/a").read_text() == "2"
    with pytest.raises(InputError, match="leads out of the datastore"):
        store.upload("data", "../../x")


def described() -> Environment:
    return Environment.from_conda_specification("mine", "env.yml")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda workspace: Environment.from_conda_specification("mine", "absent.yml"), "is not a file"),
        (lambda workspace: Environment.from_conda_specification("a b", "env.yml"), "cannot name an environment"),
        (lambda workspace: Environment.get(workspace, "absent"), "no environment is"),
        (lambda workspace: Environment("empty").for_run(), "is described by nothing"),
        (lambda workspace: Environment("empty").save_to_directory("x"), "is described by nothing"),
        (lambda workspace: Environment.load_from_directory("src"), "holds none of spec.yml"),
        (lambda workspace: Environment.from_existing_conda_environment("mine", "./src"), "has no conda-meta folder"),
        (lambda workspace: described().save_to_directory("src"), "is there already; say overwrite=True"),
        (lambda workspace: Experiment(workspace, "a b"), "cannot name an experiment"),
        (lambda workspace: Run.get(workspace, "last"), "no run is recorded yet"),
        (lambda workspace: Run.get_context(), "this process is no job"),
        (lambda workspace: Dataset.from_files("absent"), "does not exist; upload the data first"),
        (lambda workspace: Dataset.from_files(("src", "data")), "is no path; name a folder"),
        (lambda workspace: workspace.get_default_datastore().upload_file("absent"), "absent is not a file"),
        (lambda workspace: Dataset.from_files("src").as_named_input("a-b"), "cannot name an input"),
        (lambda workspace: Dataset.get_by_name(workspace, "absent"), "no data set is called"),
    ],
)
def test_what_cannot_be_right_is_a_sentence(workspace: Workspace, call: object, sentence: str) -> None:
    with pytest.raises(EnvbuildError, match=sentence):
        call(workspace)  # type: ignore[operator]


def test_a_file_that_cannot_be_understood_is_said_at_submission(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "env.yml").write_text("dependencies: 3\n")
    config = ScriptRunConfig("src", "train.py", environment=Environment.from_conda_specification("mine", "env.yml"))
    with pytest.raises(InputError, match=r"env\.yml"):
        Experiment(workspace, "digits").submit(config)
    assert list(workspace.experiments) == []


@pytest.mark.usefixtures("workspace")
def test_an_environment_is_saved_and_loaded(tmp_path: Path) -> None:
    environment = described()
    environment.environment_variables = {"SEED": "7"}
    environment.save_to_directory("saved")
    loaded = Environment.load_from_directory("saved")
    assert (loaded.name, loaded.environment_variables) == ("mine", {"SEED": "7"})
    (tmp_path / "requirements.txt").write_text("six==1.16.0\n")
    Environment.from_pip_requirements("other", "requirements.txt").save_to_directory("saved", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == ["envbuild.json", "requirements.txt"]
    assert Environment.load_from_directory("saved").name == "other"
    (tmp_path / "saved/envbuild.json").write_text("[]")
    with pytest.raises(InputError, match=r"envbuild\.json is damaged"):
        Environment.load_from_directory("saved")


@pytest.mark.usefixtures("workspace")
def test_a_file_that_names_others_is_not_saved_without_them(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("six==1.16.0\n")
    (tmp_path / "requirements.txt").write_text("-r base.txt\n")
    environment = Environment.from_pip_requirements("mine", "requirements.txt")
    with pytest.raises(InputError, match="is described by other files too; register it first"):
        environment.save_to_directory("saved")
    assert not (tmp_path / "saved").exists()
