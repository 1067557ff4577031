"""Who we are to a registry, from where `docker login` and `podman login` keep it.

    REGISTRY_AUTH_FILE | $DOCKER_CONFIG/config.json (~/.docker) | $XDG_RUNTIME_DIR/containers/auth.json | ~/.config/...

The first file that knows the registry answers: its helper for that registry (`credHelpers`), its `auths` (in
containers' files also by repository, the longest match first), its `credsStore`. Helpers speak the protocol of
docker-credential-helpers: the registry's name on standard input of `docker-credential-NAME get`, JSON on its output.
A secret is never printed: it stays out of `repr`, and errors name only the file or helper.
"""

import base64
import binascii
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envbuild.errors import RegistryError

_HUB = "docker.io"
_HUB_KEY = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"
"""The user name by which helpers mark an identity token."""
_SECONDS = 30


@dataclass(frozen=True)
class Credentials:
    """A user name and password, or an identity token to exchange for one."""

    origin: str
    """The file or helper that had them."""
    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """The value of a Basic authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that must not be shown."""
        found = (self.password, self.identity_token, self.basic().partition(" ")[2] if self.password else "")
        return tuple(each for each in found if each)


def find_credentials(registry: str, repository: str, environ: Mapping[str, str]) -> Credentials | None:
    """The credentials for `registry/repository`, or `None` where no file has any.

    Raises:
        RegistryError: a file or a helper's answer cannot be read.
    """
    for file in _files(environ):
        document = _read(file)
        if document is not None:
            found = _look(document, file, registry, repository)
            if found is not None:
                return found
    return None


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ.get("HOME") or Path.home())
    if environ.get("REGISTRY_AUTH_FILE"):
        yield Path(environ["REGISTRY_AUTH_FILE"])
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    if environ.get("XDG_RUNTIME_DIR"):
        yield Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json"
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"


def _read(file: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise RegistryError(f"the credentials in {file} cannot be read: {reason}; log in again") from None
    if not isinstance(document, dict):
        raise RegistryError(f"the credentials in {file} cannot be read: it is no JSON object; log in again")
    return document


def _look(document: Mapping[str, Any], file: Path, registry: str, repository: str) -> Credentials | None:
    keys = _keys(registry, repository)
    helpers = _mapping(document, "credHelpers")
    for key in keys:
        if isinstance(helpers.get(key), str):
            return _ask(helpers[key], key)
    auths = {name.removesuffix("/"): entry for name, entry in _mapping(document, "auths").items()}
    for key in keys:
        for name in (key, f"https://{key}", f"http://{key}", f"https://{key}/v1", f"https://{key}/v2"):
            entry = auths.get(name.removesuffix("/"))
            found = _entry(entry, file) if isinstance(entry, dict) else None
            if found is not None:
                return found
    store = document.get("credsStore")
    return _ask(store, _HUB_KEY if registry == _HUB else registry) if isinstance(store, str) and store else None


def _keys(registry: str, repository: str) -> list[str]:
    """What a file may call the place, the most exact first (containers-auth.json(5))."""
    parts = [registry, *repository.split("/")]
    keys = ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return [*keys, _HUB_KEY] if registry == _HUB else keys


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _entry(entry: Mapping[str, Any], file: Path) -> Credentials | None:
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return Credentials(str(file), identity_token=token)
    if isinstance(entry.get("username"), str) and isinstance(entry.get("password"), str):
        return Credentials(str(file), entry["username"], entry["password"])
    if not entry.get("auth"):
        return None
    try:
        user, colon, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user = colon = password = ""
    if not colon:
        raise RegistryError(f"an entry of {file} is damaged: its auth is not base64 of user:password; log in again")
    return Credentials(str(file), user, password.rstrip("\0"))


def _ask(helper: str, server: str) -> Credentials | None:
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"], input=server, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError:
        raise RegistryError(
            f"the credential helper {program} could not be asked for {server}: it is not installed; install it, or "
            "take it out of Docker's config.json (credsStore, credHelpers) and log in again"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it did not answer in {_SECONDS} s"
        raise RegistryError(f"the credential helper {program} could not be asked for {server}: {reason}") from None
    if done.returncode:
        said = (done.stdout.strip() or done.stderr.strip()).lower()
        if "credentials not found" in said:
            return None
        raise RegistryError(
            f"the credential helper {program} failed with exit code {done.returncode} for {server}; "
            f"try it by hand: echo {server} | {program} get"
        )
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise RegistryError(f"the credential helper {program} gave no usable answer for {server}") from None
    if user == _TOKEN_USER:
        return Credentials(program, identity_token=secret)
    return Credentials(program, user, secret)
