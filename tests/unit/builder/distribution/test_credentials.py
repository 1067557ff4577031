"""Credentials come from where docker and podman keep them, and are never shown."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from envbuild.builder.distribution.credentials import Credentials, find_credentials
from envbuild.errors import RegistryError


def auth(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


class Home:
    """A home folder with login files and helpers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {"HOME": str(folder)}

    def write(self, name: str, document: Any) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        return file

    def helper(self, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
        program = self.write(f"bin/docker-credential-{name}", f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    def find(self, registry: str = "registry.test", repository: str = "team/env") -> tuple[str, str] | None:
        found = find_credentials(registry, repository, self.environ)
        return (found.user, found.password) if found else None


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_without_any_file_there_are_none(home: Home) -> None:
    assert home.find() is None


@pytest.mark.parametrize("key", ["registry.test", "https://registry.test", "https://registry.test/v1/"])
def test_dockers_config_under_each_of_its_spellings(home: Home, key: str) -> None:
    home.write(".docker/config.json", {"auths": {key: {"auth": auth("ann", "pass:word")}}})
    assert home.find() == ("ann", "pass:word")
    assert home.find("other.test") is None


def test_docker_config_moves_with_its_variable(home: Home) -> None:
    home.write("elsewhere/config.json", {"auths": {"registry.test": {"auth": auth("ann", "secret")}}})
    home.environ["DOCKER_CONFIG"] = str(home.folder / "elsewhere")
    assert home.find() == ("ann", "secret")


def test_registry_auth_file_stands_first_and_the_longest_match_in_it(home: Home) -> None:
    home.write(".docker/config.json", {"auths": {"registry.test": {"auth": auth("docker", "1")}}})
    file = home.write(
        "auth.json",
        {
            "auths": {
                "registry.test": {"auth": auth("all", "2")},
                "registry.test/team": {"auth": auth("team", "3")},
                "registry.test/te": {"auth": auth("no", "4")},
            }
        },
    )
    home.environ["REGISTRY_AUTH_FILE"] = str(file)
    assert home.find() == ("team", "3")
    assert home.find(repository="other/env") == ("all", "2")


def test_podmans_file_in_the_runtime_folder(home: Home) -> None:
    home.write("run/containers/auth.json", {"auths": {"registry.test": {"auth": auth("pod", "man")}}})
    home.environ["XDG_RUNTIME_DIR"] = str(home.folder / "run")
    assert home.find() == ("pod", "man")


def test_a_helper_for_one_registry_stands_before_the_store(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.helper("one", 'read server; echo "{\\"Username\\": \\"$server\\", \\"Secret\\": \\"s\\"}"', monkeypatch)
    home.write(".docker/config.json", {"credsStore": "missing", "credHelpers": {"registry.test": "one"}})
    assert home.find() == ("registry.test", "s")


def test_the_store_is_asked_for_the_hub_by_its_old_name(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.helper("store", 'read server; echo "{\\"Username\\": \\"$server\\", \\"Secret\\": \\"s\\"}"', monkeypatch)
    home.write(".docker/config.json", {"credsStore": "store"})
    assert home.find("docker.io", "library/x") == ("https://index.docker.io/v1/", "s")


def test_a_helper_that_knows_nothing_is_no_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.helper("store", "echo 'credentials not found in native keychain'; exit 1", monkeypatch)
    home.write(".docker/config.json", {"credsStore": "store"})
    assert home.find() is None


def test_a_helpers_token_is_an_identity_token(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.helper("store", 'echo \'{"Username": "<token>", "Secret": "refresh"}\'', monkeypatch)
    home.write(".docker/config.json", {"credsStore": "store"})
    found = find_credentials("registry.test", "x", home.environ)
    assert found is not None and (found.identity_token, found.password) == ("refresh", "")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo hunter2 >&2; exit 3", "failed with exit code 3"),
        ("echo hunter2", "gave no usable answer"),
    ],
)
def test_a_helper_that_fails_is_named_and_its_output_is_not_shown(
    home: Home, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    home.helper("store", script, monkeypatch)
    home.write(".docker/config.json", {"credsStore": "store"})
    with pytest.raises(RegistryError, match=reason) as caught:
        home.find()
    assert "docker-credential-store" in str(caught.value) and "hunter2" not in str(caught.value)


def test_a_missing_helper_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home.folder))
    home.write(".docker/config.json", {"credsStore": "absent"})
    with pytest.raises(RegistryError, match="docker-credential-absent could not be asked for .*: it is not installed"):
        home.find()


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"registry.test": {"auth": "hunter2"}}}'])
def test_a_damaged_file_is_named_and_not_shown(home: Home, text: str) -> None:
    home.write(".docker/config.json", text)
    with pytest.raises(RegistryError, match=r"config\.json") as caught:
        home.find()
    assert "hunter2" not in str(caught.value)


def test_secrets_stay_out_of_the_printed_form() -> None:
    assert "secret" not in repr(Credentials("a file", "ann", "secret", "secret-token"))
