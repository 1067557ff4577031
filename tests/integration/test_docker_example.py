"""The example trains in a container as it does in the sandbox: the same metrics, the same model."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from engines import Daemon
from harness import Project

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "examples" / "cifar10"


@pytest.mark.slow
def test_the_example_gives_the_same_in_docker_as_locally(
    project: Project, docker_engine: Daemon, example_channel: Path
) -> None:
    shutil.copytree(EXAMPLE / "src", project.folder / "src")
    shutil.copy(EXAMPLE / "pytorch-env.yml", project.folder)
    project.write(
        "envbuild.toml",
        f'[channels]\ndefaults = "{example_channel.as_uri()}"\npytorch = "{example_channel.as_uri()}"\n'
        '[virtual-packages]\nlinux-64 = { __glibc = "2.36" }\n'
        f'[targets.docker]\ntype = "docker"\nhost = "{docker_engine.host}"\n',
    )
    make_data = [sys.executable, EXAMPLE / "make_data.py", project.folder / "data"]
    subprocess.run(make_data, check=True, capture_output=True)
    project.json("register", "pytorch-env.yml")
    local, docker = train(project, "local"), train(project, "docker")
    assert local["metrics"] == docker["metrics"] and len(local["metrics"]) >= 4
    assert local["log"] == docker["log"]
    assert local["model"] == docker["model"]


def train(project: Project, target: str) -> dict[str, Any]:
    """What a run of the example on `target` logged and wrote."""
    options = ("--json", "--target", target, "--no-network", "--cpus", "1", "--mount", "data=data")
    done = project.envbuild("run", *options, "src", "train.py", "--data", "{data}", "--epochs", "1")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    folder = project.home / "runs" / record["experiment"] / record["run_id"]
    points = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        "metrics": [(point["k"], point["v"], point["s"]) for point in points if "kind" not in point],
        "log": (folder / "70_driver_log.txt").read_bytes(),
        "model": (folder / "outputs/model.pt").read_bytes(),
    }
