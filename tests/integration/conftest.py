"""What the integration tests share: a small real channel, a home with the base in it, and the real command line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engines import Daemon, dockerd, podman
from filelock import FileLock
from harness import Project, copy_home

from registry import Proxy, docker_registry, proxy_before

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test here that fails is run once more: engines, registries and browsers have races of their own, rarely seen.

    The summary names it (RERUN) and shows why: a cause to be found, and mended where users would meet it too. Tests of
    our code alone (tests/unit) have one try.
    """
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all test processes share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def channel(shared: Path) -> Path:
    """The small channel of `channel.toml`."""
    return build_channel(HERE / "channel.toml", ROOT / ".demo" / "test-channel", shared)


@pytest.fixture(scope="session")
def example_channel(shared: Path) -> Path:
    """The channel of the example, PyTorch and all, where `make demo` has it."""
    return build_channel(ROOT / "examples/cifar10/channel.toml", ROOT / ".demo" / "channel", shared)


def build_channel(recipe: Path, folder: Path, shared: Path) -> Path:
    """Build a channel once, by the command that users have."""
    with FileLock(shared / f"{folder.name}.lock"):
        done = subprocess.run(
            [sys.executable, "-m", "envbuild", "channel", "build", recipe, folder],
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
        copy_home(seed, home)
        project = Project(folder, home)
        write_project(project, channel)
        return project

    return make


def write_project(project: Project, channel: Path) -> None:
    """The settings and the environment file that every project of these tests has."""
    project.write(
        "envbuild.toml",
        f'[channels]\ndefaults = "{channel.as_uri()}"\n[virtual-packages]\nlinux-64 = {{ __glibc = "2.36" }}\n',
    )
    project.write("environment.yml", "name: small\nchannels: [defaults]\ndependencies:\n- python=3.11\n- jinja2\n")


@pytest.fixture(scope="session")
def registered_home(shared: Path, channel: Path, seed: Path) -> Path:
    """A home in which the small environment is registered."""
    home = shared / "registered-home"
    with FileLock(shared / "registered.lock"):
        if not (home / "environments").is_dir():
            project = Project(shared / "registered", home)
            project.folder.mkdir(exist_ok=True)
            copy_home(seed, home)
            write_project(project, channel)
            project.json("register", "environment.yml")
    return home


@pytest.fixture
def registered(tmp_path: Path, channel: Path, registered_home: Path) -> Project:
    """A project whose home has the small environment registered."""
    project = Project(tmp_path / "project", tmp_path / "project-home")
    project.folder.mkdir()
    copy_home(registered_home, project.home)
    write_project(project, channel)
    project.write(
        "envbuild.toml", (project.folder / "envbuild.toml").read_text() + '[project]\nenvironment = "small"\n'
    )
    return project


@pytest.fixture(scope="session")
def compressed_home(shared: Path, channel: Path, registered_home: Path) -> Path:
    """A home in which the small environment is registered and its layers are compressed; no registry is remembered."""
    home = shared / "compressed-home"
    with FileLock(shared / "compressed.lock"):
        if not home.exists():
            project = Project(shared / "compressed", shared / "compressed-home.tmp")
            project.folder.mkdir(exist_ok=True)
            copy_home(registered_home, project.home)
            write_project(project, channel)
            with docker_registry(shared / "first-registry") as address:
                project.json("push", "small", f"{address}/small")
            shutil.rmtree(project.home / "registries")
            project.home.rename(home)
    return home


@pytest.fixture
def sender(tmp_path: Path, channel: Path, compressed_home: Path) -> Project:
    """A project whose home has `small:1`, ready to be pushed."""
    project = Project(tmp_path / "project", tmp_path / "project-home")
    project.folder.mkdir()
    copy_home(compressed_home, project.home)
    write_project(project, channel)
    return project


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """An empty registry of the test's own: `127.0.0.1:PORT`."""
    with docker_registry(tmp_path / "registry") as address:
        yield address


@pytest.fixture
def proxy(registry: str) -> Iterator[Proxy]:
    """A proxy before `registry` that counts, and fails as a test wants it."""
    with proxy_before(registry) as proxy:
        yield proxy


@pytest.fixture
def project(new_project: Callable[[str], Project]) -> Project:
    return new_project("project")


@pytest.fixture(scope="session")
def docker_engine(shared: Path) -> Iterator[Daemon]:
    """A Docker Engine that all tests share; names of images and containers in it are the tests' own."""
    with dockerd(shared / "docker") as daemon:
        yield daemon


@pytest.fixture(scope="session")
def podman_engine(shared: Path) -> Iterator[Daemon]:
    """A Podman API service that all tests share."""
    with podman(shared / "podman") as daemon:
        yield daemon
