"""What an engine says of itself, and what is said when there is none."""

import errno
from pathlib import Path
from typing import Any

import pytest

from envbuild.builder.publish.engine import _address, _described, _innermost, _reason, find_engine
from envbuild.errors import EngineAddressError, EngineError

VERSION: dict[str, Any] = {"Version": "20.10.24", "ApiVersion": "1.41", "Components": [{"Name": "Engine"}]}
INFO: dict[str, Any] = {"Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]], "SecurityOptions": []}
CONTAINERD = {"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}


def described(version: dict[str, Any], info: dict[str, Any]) -> Any:
    return _described(None, "unix:///s", "DOCKER_HOST", {**VERSION, **version}, {**INFO, **info})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "info", "product", "partial"),
    [
        ({}, {}, "Docker Engine", True),
        ({}, CONTAINERD, "Docker Engine", False),
        ({"Components": [{"Name": "Podman Engine"}]}, {}, "Podman", False),
        ({"Components": None}, {"DriverStatus": None}, "Docker Engine", True),
    ],
)
def test_only_dockers_own_store_takes_partial_archives(
    version: dict[str, Any], info: dict[str, Any], product: str, partial: bool
) -> None:
    engine = described(version, info)
    assert (engine.product, engine.takes_partial_archives) == (product, partial)


def test_an_engine_without_root_says_so() -> None:
    assert described({}, {"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}).rootless


def test_an_engine_that_is_too_old_is_a_sentence() -> None:
    with pytest.raises(EngineError, match=r"Docker Engine 18.09 at unix:///s speaks API 1.39; envbuild needs 1.40"):
        described({"Version": "18.09", "ApiVersion": "1.39"}, {})


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EACCES, "may not be opened by this user: have yourself added to the group docker"),
        (errno.ENOENT, "no container engine listens at /s: start Docker Engine"),
        (errno.ECONNREFUSED, "no container engine listens at /s: start Docker Engine"),
        (errno.ENAMETOOLONG, "the socket /s cannot be used"),
    ],
)
def test_a_socket_that_cannot_be_opened_says_what_to_do(number: int, sentence: str) -> None:
    assert sentence in _reason(OSError(number, "reason"), "/s")


def test_the_configured_address_goes_before_docker_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///from/environment.sock")
    assert _address("unix:///configured.sock")[:2] == ("unix:///configured.sock", "envbuild.toml")
    assert _address(str(tmp_path / "docker.sock"))[0] == f"unix://{tmp_path}/docker.sock"
    assert _address("")[1] == "DOCKER_HOST"


def test_without_any_configuration_the_first_socket_that_is_there_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("envbuild.builder.publish.engine._DOCKER_SOCKET", str(tmp_path / "absent.sock"))
    (tmp_path / "podman").mkdir()
    (tmp_path / "podman/podman.sock").touch()
    assert _address("")[:2] == (f"unix://{tmp_path}/podman/podman.sock", "the default")


def test_certificates_that_are_not_there_are_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path / "absent"))
    with pytest.raises(EngineError, match="the certificates in DOCKER_CERT_PATH for DOCKER_HOST cannot be used"):
        _address("")


@pytest.mark.parametrize("address", ["junk://x", "tcp://", "tcp://host:port", "http://"])
def test_what_is_no_address_is_wrong_input_and_says_who_named_it(address: str) -> None:
    with pytest.raises(EngineAddressError, match=r"\(from --host\) is no engine's address \(.*\); write unix:///PATH"):
        find_engine(address, "--host")


def test_what_the_system_said_is_told_without_the_layers_around_it() -> None:
    said = "Max retries exceeded (Caused by NewConnectionError('<x>: Failed: [Errno 111] Connection refused'))"
    assert (_innermost(said), _innermost("no version")) == ("Connection refused", "no version")
    assert _innermost("('Connection aborted.', FileNotFoundError(2, 'No such file'))") == "No such file"
    assert _innermost("('Connection aborted.', RemoteDisconnected('closed'))") == "closed"


def test_an_unknown_context_is_wrong_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONTEXT", "absent")
    with pytest.raises(EngineAddressError, match='the Docker context "absent" does not exist'):
        find_engine()


def test_a_current_context_that_is_gone_is_wrong_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text('{"currentContext": "gone"}')
    with pytest.raises(
        EngineAddressError, match='the Docker context "gone" does not exist; .* docker context use default'
    ):
        find_engine()
