"""What a control script says in the SDK's words: taken as it was meant, or a sentence; never passed over."""

from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.azureml.environment import Environment
from envbuild.azureml.script_run_config import RunConfiguration, ScriptRunConfig
from envbuild.errors import InputError


def config(**options: object) -> ScriptRunConfig:
    return ScriptRunConfig("src", "train.py", **options)  # type: ignore[arg-type]


def limited(seconds: float) -> RunConfiguration:
    how = RunConfiguration()
    how.max_run_duration_seconds = seconds
    return how


@pytest.mark.parametrize(
    ("made", "seconds"),
    [
        (config(), 30 * 86400),  # the SDK's own limit
        (config(run_config=limited(60)), 60),
        (config(run_config=limited(60), max_run_duration_seconds=90), 90),
    ],
)
def test_the_time_limit_is_the_one_that_was_said(made: ScriptRunConfig, seconds: float) -> None:
    assert made.run_config.max_run_duration_seconds == seconds


def set_dockerfile() -> None:
    Environment("mine").docker.base_dockerfile = "FROM scratch"  # type: ignore[attr-defined]


def set_prefix() -> None:
    Environment("mine").python.conda_prefix = "x"  # type: ignore[attr-defined]


def set_nodes() -> None:
    RunConfiguration().node_count = 4  # type: ignore[attr-defined]


def set_arguments() -> None:
    environment = Environment("mine")
    environment.docker.arguments = ["--privileged"]
    environment.for_run()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (set_dockerfile, "DockerSection.base_dockerfile has no counterpart"),
        (set_prefix, "PythonSection.conda_prefix has no counterpart"),
        (set_nodes, "RunConfiguration.node_count has no counterpart"),
        (set_arguments, "docker.arguments = .* has no counterpart"),
    ],
)
def test_what_is_set_and_not_known_is_a_sentence(said: Callable[[], None], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        said()


def test_what_is_known_can_be_set(tmp_path: Path) -> None:
    environment = Environment("mine")
    environment.docker.enabled, environment.docker.shm_size = True, "4g"
    environment.python.user_managed_dependencies = False
    environment.environment_variables = {"SEED": "1"}
    assert environment.docker.shm_size == "4g"
