"""What the integration tests share: a small real channel, a home with the base in it, and the real command line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from harness import Project

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all test processes share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def channel(shared: Path) -> Path:
    """The small channel of `channel.toml`, built once by the command that users have."""
    folder = ROOT / ".demo" / "test-channel"
    with FileLock(shared / "channel.lock"):
        done = subprocess.run(
            [sys.executable, "-m", "envbuild", "channel", "build", HERE / "channel.toml", folder],
            env={**os.environ, "ENVBUILD_HOME": str(shared / "channel-home")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def seed(shared: Path) -> Path:
    """A home that holds the base and nothing else."""
    home = shared / "seed-home"
    with FileLock(shared / "seed.lock"):
        done = subprocess.run(
            [sys.executable, "-m", "envbuild", "base", "update", "debian12-minimal", "--if-dropped"],
            env={**os.environ, "ENVBUILD_HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture
def new_project(tmp_path: Path, channel: Path, seed: Path) -> Callable[[str], Project]:
    """Makes projects whose channels are the small one, each with a home that has only the base."""

    def make(name: str) -> Project:
        folder = tmp_path / name
        folder.mkdir()
        home = tmp_path / f"{name}-home"
        subprocess.run(["cp", "-a", "--link", seed, home], check=True)
        project = Project(folder, home)
        project.write(
            "envbuild.toml",
            f'[channels]\ndefaults = "{channel.as_uri()}"\n[virtual-packages]\nlinux-64 = {{ __glibc = "2.36" }}\n',
        )
        project.write("environment.yml", "name: small\nchannels: [defaults]\ndependencies:\n- python=3.11\n- jinja2\n")
        return project

    return make


@pytest.fixture
def project(new_project: Callable[[str], Project]) -> Project:
    return new_project("project")
