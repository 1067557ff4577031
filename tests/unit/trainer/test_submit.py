"""What is found out before anything runs: scripts, mounts and folders that cannot be right."""

from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.builder.report import Silent
from envbuild.builder.sandbox import RootFilesystem
from envbuild.errors import InputError, SnapshotError
from envbuild.settings import Settings
from envbuild.trainer.run import list_runs
from envbuild.trainer.submit import EnvironmentForRun, RunRequest, submit


@pytest.fixture
def request_(tmp_path: Path) -> RunRequest:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/train.py").touch()
    environment = EnvironmentForRun("small", 1, "sha256:0", RootFilesystem((tmp_path,)), {}, None)
    return RunRequest(
        tmp_path / "src", "train.py", (), "digits", environment, (), network=False, cpus=None, memory=None,
        shm_size=1 << 20, target="local",
    )  # fmt: skip


def test_a_missing_script_names_the_near_one(tmp_path: Path, request_: RunRequest) -> None:
    with pytest.raises(SnapshotError, match=r"holds no trian.py; did you mean train.py\?"):
        submit(replace(request_, script="trian.py"), Settings(home=tmp_path / "home"), Silent(), None)
    assert list_runs(tmp_path / "home") == []


def test_an_argument_that_names_no_mount_is_refused(tmp_path: Path, request_: RunRequest) -> None:
    with pytest.raises(InputError, match=r"names the mount 'data'; known: none is given"):
        submit(replace(request_, arguments=("{data}",)), Settings(home=tmp_path / "home"), Silent(), None)
    assert list_runs(tmp_path / "home") == []


def test_a_file_called_outputs_is_refused(tmp_path: Path, request_: RunRequest) -> None:
    (tmp_path / "src/outputs").touch()
    with pytest.raises(SnapshotError, match=r"outputs is a file, but jobs write into a folder of that name"):
        submit(request_, Settings(home=tmp_path / "home"), Silent(), None)
    assert [run.state for run in list_runs(tmp_path / "home")] == ["Failed"]
