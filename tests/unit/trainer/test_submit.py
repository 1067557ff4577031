"""What is recorded of a request, and what is found out before: scripts, mounts and folders that cannot be right."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envbuild.builder.report import Silent
from envbuild.errors import InputError, NotFound, SnapshotError
from envbuild.settings import Settings
from envbuild.trainer.run import RunRecord, check_experiment, list_runs
from envbuild.trainer.submit import EnvironmentForRun, RunRequest, default_experiment, resubmit, submit


@pytest.fixture
def request_(tmp_path: Path) -> RunRequest:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/train.py").touch()
    environment = EnvironmentForRun("small", 1, "sha256:0")
    return RunRequest(tmp_path / "src", "train.py", (), "digits", environment)


def queue(request: RunRequest) -> RunRecord:
    return submit(request, Settings(home=request.source.parent / "home"), Silent())


def test_a_request_is_recorded_whole(request_: RunRequest) -> None:
    run = queue(replace(request_, arguments=("{data}", "--lr", "0.1"), mounts=(("data", Path("/x")),), timeout=60.0))
    document = run.document
    assert run.state == "Queued"
    assert document["parameters"] == {"lr": 0.1}
    assert document["command"] == ["/opt/env/bin/python", "train.py", "/envbuild/data/data", "--lr", "0.1"]
    assert document["environment"] == {"name": "small", "version": 1, "image_digest": "sha256:0"}
    assert document["limits"] == {"cpus": None, "memory": None, "shm_size": 2 << 30, "timeout": 60.0}
    assert [file["path"] for file in json.loads((run.folder / "snapshot.json").read_bytes())] == ["train.py"]


@pytest.mark.parametrize(
    ("argument", "passed"),
    [
        ("{data}/x", "/envbuild/data/data/x"),
        ("{{epoch}}-{data}.pt", "{epoch}-/envbuild/data/data.pt"),
        ('{"lr": 0.1}', '{"lr": 0.1}'),
        ("{epoch:02d}", "{epoch:02d}"),
        ("{}", "{}"),
    ],
)
def test_braces_name_a_mount_and_doubled_ones_themselves(request_: RunRequest, argument: str, passed: str) -> None:
    run = queue(replace(request_, arguments=(argument,), mounts=(("data", Path("/x")),)))
    assert run.document["command"] == ["/opt/env/bin/python", "train.py", passed]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"script": "trian.py"}, r"holds no trian.py; did you mean train.py\?"),
        ({"arguments": ("{data}",)}, r"names the mount 'data'; known: none is given .* written \{\{data\}\}"),
        ({"target": "locla"}, "did you mean local"),
        ({"experiment": "a b"}, "cannot name an experiment"),
        ({"memory": 0}, "a job cannot do with memory = 0"),
        ({"shm_size": 0}, "a job cannot do with shm_size = 0"),
        ({"memory": 1 << 20}, "no job starts with memory = 1048576; give it 6MiB or more"),
        ({"memory": 1 << 63}, "memory = 9223372036854775808 is more bytes than any machine has"),
        ({"shm_size": 1 << 63}, "shm_size = 9223372036854775808 is more bytes than any machine has"),
        ({"cpus": -1}, "a job cannot do with cpus = -1"),
        ({"timeout": 0.0}, "a job cannot do with timeout = 0.0"),
    ],
)
def test_what_cannot_be_right_is_a_sentence_and_leaves_no_record(
    request_: RunRequest, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        queue(replace(request_, **change))
    assert list_runs(request_.source.parent / "home") == []


@pytest.mark.parametrize(
    ("folder", "name"),
    [("my project", "my-project"), ("日本", "default-日本"), ("--", "default"), ("a" * 255, "a" * 255)],
)
def test_every_folder_lends_an_experiment_its_name(tmp_path: Path, folder: str, name: str) -> None:
    source = tmp_path / folder / "src"
    source.mkdir(parents=True)
    assert check_experiment(default_experiment(source, Settings(home=tmp_path))) == name


def test_a_file_called_outputs_is_refused(request_: RunRequest) -> None:
    (request_.source / "outputs").touch()
    with pytest.raises(SnapshotError, match=r"outputs is a file, but jobs write into a folder of that name"):
        queue(request_)
    assert list_runs(request_.source.parent / "home") == []


def test_the_same_is_run_again_with_other_arguments(request_: RunRequest) -> None:
    first = queue(replace(request_, arguments=("--lr", "0.1", "--epochs=2"), mounts=(("data", request_.source),)))
    (request_.source / "train.py").write_text("changed = True\n")
    again = resubmit(first, ("--lr", "0.5"), Settings(home=first.home))
    assert again.document["arguments"] == ["--epochs=2", "--lr", "0.5"]
    assert again.document["rerun_of"] == first.run_id
    for key in ("snapshot", "environment", "mounts", "limits", "script"):
        assert again.document[key] == first.document[key]


def test_a_mount_that_is_gone_is_said_before_anything_is_recorded(request_: RunRequest, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    run = queue(replace(request_, mounts=(("data", tmp_path / "data"),)))
    (tmp_path / "data").rmdir()
    with pytest.raises(InputError, match="does not exist any more"):
        resubmit(run, (), Settings(home=run.home))
    assert len(list_runs(run.home)) == 1


def test_without_its_snapshot_nothing_is_run_again(request_: RunRequest) -> None:
    run = queue(request_)
    shutil.rmtree(run.home / "snapshots")
    with pytest.raises(NotFound, match="is not kept any more"):
        resubmit(run, (), Settings(home=run.home))


def test_commit_and_difference_are_kept(request_: RunRequest) -> None:
    folder = request_.source
    line = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    (folder / "train.py").write_text("print(1)\n")
    for rest in (["init", "-q", "-b", "trunk"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*line, *rest], check=True)
    clean = queue(request_)
    assert (clean.document["git"]["branch"], clean.document["git"]["dirty"]) == ("trunk", False)
    assert not clean.diff_file.exists()
    (folder / "train.py").write_text("print(2)\n")
    changed = queue(request_)
    assert changed.document["git"]["dirty"]
    assert changed.document["git"]["commit"] == clean.document["git"]["commit"]
    assert "-print(1)\n+print(2)\n" in changed.diff_file.read_text()
