"""How a job becomes a container."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envbuild.builder.image import make_image
from envbuild.builder.sandbox.command import RootFilesystem
from envbuild.errors import EngineError, SettingsError
from envbuild.trainer.targets import Job, docker
from envbuild.trainer.targets.container import device_requests, user_of
from envbuild.trainer.targets.docker import DockerSettings, read_docker_settings


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ("all", {"Count": -1, "DeviceIDs": []}),
        ("2", {"Count": 2, "DeviceIDs": []}),
        ("0,1", {"Count": 0, "DeviceIDs": ["0", "1"]}),
        ("device=GPU-8a", {"Count": 0, "DeviceIDs": ["GPU-8a"]}),
    ],
)
def test_gpus_are_asked_for_by_device_request(wanted: str, asked: dict[str, Any]) -> None:
    (found,) = device_requests(wanted)["device_requests"]
    assert {key: found[key] for key in asked} == asked
    assert found["Capabilities"] == [["gpu"]]


def test_no_gpus_are_asked_for_unless_wanted() -> None:
    assert device_requests("") == {}


@pytest.mark.parametrize(
    ("product", "rootless", "user", "namespace"),
    [
        ("Docker Engine", False, f"{os.getuid()}:{os.getgid()}", ""),
        ("Docker Engine", True, "0:0", ""),
        ("Podman", False, f"{os.getuid()}:{os.getgid()}", ""),
        ("Podman", True, f"{os.getuid()}:{os.getgid()}", "keep-id"),
    ],
)
def test_outputs_belong_to_the_caller(product: str, rootless: bool, user: str, namespace: str) -> None:
    class Engine:
        pass

    engine: Any = Engine()
    engine.product, engine.rootless = product, rootless
    assert user_of("", engine) == (user, namespace)


def test_settings_are_read_and_unknown_ones_refused() -> None:
    table = {"type": "docker", "host": "/run/docker.sock", "network": "host", "shm-size": "1GiB"}
    assert read_docker_settings("gpu", table) == DockerSettings(host="/run/docker.sock", network="host")
    with pytest.raises(SettingsError, match=r"\[targets.gpu\] has no setting 'hots'; known: host, user"):
        read_docker_settings("gpu", {"type": "docker", "hots": ""})
    with pytest.raises(SettingsError, match=r"targets.gpu.user must be text, not 1000"):
        read_docker_settings("gpu", {"type": "docker", "user": 1000})


def test_an_image_on_its_way_to_the_engine_is_heard_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(*given: object) -> None:
        raise EngineError(f"heard: {given[-1] is job.reporter}")

    monkeypatch.setattr(docker, "find_engine", lambda host: SimpleNamespace(product="Docker Engine"))
    monkeypatch.setattr(docker, "remove_stale", lambda engine: 0)
    monkeypatch.setattr(docker, "load_image", load)
    image = make_image([], "linux-64", 0, {}, {})
    job = Job(
        [], RootFilesystem(()), [], {}, "/", tmp_path / "log", network=False, cpus=None, memory=None, shm_size=1,
        image=image,
    )  # fmt: skip
    with pytest.raises(EngineError, match="heard: True"):
        docker.Docker(DockerSettings(), tmp_path).run(job, lambda pid: None, None)
