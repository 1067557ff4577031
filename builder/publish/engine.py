"""Finding a container engine: Docker Engine, or Podman through the same API.

The address is the configured one, else DOCKER_HOST, else the current Docker context, else the first socket that is
there: Docker's, Docker's without root, Podman's. What goes wrong says which address was asked and what to do.
"""

import errno
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.errors import EngineAddressError, EngineError

if TYPE_CHECKING:
    import docker

MIN_API = (1, 40)
"""Docker Engine 19.03: device requests, which GPUs need."""
TIMEOUT = 600
"""Seconds without an answer: a daemon that unpacks a large layer says nothing meanwhile."""

_DOCKER_SOCKET = "/var/run/docker.sock"


@dataclass(frozen=True)
class Engine:
    """A container engine that answers."""

    client: "docker.DockerClient"
    host: str
    """Its address, for instance `unix:///var/run/docker.sock`."""
    origin: str
    """Why this address: `DOCKER_HOST`, `the Docker context "x"`, ..."""
    product: str
    """`Docker Engine` or `Podman`."""
    version: str
    storage: str
    """The storage driver, for instance `overlay2`."""
    containerd: bool
    """Whether images are in containerd's store rather than in the engine's own."""
    rootless: bool

    @property
    def takes_partial_archives(self) -> bool:
        """Whether an archive may lack layers that the engine has: only Docker's own image store looks first."""
        return self.product == "Docker Engine" and not self.containerd


def find_engine(host: str = "", origin: str = "envbuild.toml") -> Engine:
    """Connect to the engine at `host`, which `origin` names, or to the one that the environment means.

    Raises:
        EngineError: none answers there, or it is too old.
        EngineAddressError: that is no address.
    """
    address, origin, tls = _address(host, origin)
    _check(address, origin)
    _probe(address, origin)
    import docker
    import docker.errors
    import requests

    try:
        client = docker.DockerClient(base_url=address, version="auto", timeout=TIMEOUT, tls=tls)
        version, info = client.version(), client.info()
    except docker.errors.TLSParameterError as error:
        raise EngineError(f"the certificates for {address} (from {origin}) cannot be used: {error}") from None
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise EngineError(
            f"no container engine answers at {address} (from {origin}): {_innermost(str(error))}"
        ) from None
    return _described(client, address, origin, version, info)


@contextmanager
def engine_errors(engine: Engine, doing: str) -> Iterator[None]:
    """What the engine answers in the block becomes one sentence that says what was being done."""
    import docker.errors
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        text = str(error.explanation or error)
        raise EngineError(f"{engine.product} could not {doing}: {text}{_cure(text)}") from None
    except docker.errors.DockerException as error:
        raise EngineError(f"{engine.product} could not {doing}: {error}{_cure(str(error))}") from None
    except requests.RequestException as error:
        raise EngineError(
            f"the connection to {engine.product} at {engine.host} broke off, so it could not {doing} "
            f"({_innermost(str(error))}); see whether it still runs, and try again"
        ) from None


def engine_address(host: str = "") -> str:
    """Where `find_engine` would look, without asking anybody.

    Raises:
        EngineError: Docker's configuration cannot be read.
    """
    return _address(host)[0]


def _described(
    client: "docker.DockerClient", host: str, origin: str, version: Mapping[str, Any], info: Mapping[str, Any]
) -> Engine:
    names = [str(each.get("Name", "")) for each in version.get("Components") or ()]
    product = "Podman" if any("podman" in name.lower() for name in names) else "Docker Engine"
    api = str(version.get("ApiVersion", "0"))
    if tuple(int(part) for part in api.split(".") if part.isdecimal()) < MIN_API:
        raise EngineError(
            f"{product} {version.get('Version')} at {host} speaks API {api}; envbuild needs "
            f"{'.'.join(map(str, MIN_API))} or later (Docker Engine 19.03)"
        )
    status = {str(each[0]): str(each[1]) for each in info.get("DriverStatus") or () if len(each) == 2}
    return Engine(
        client=client,
        host=host,
        origin=origin,
        product=product,
        version=str(version.get("Version", "?")),
        storage=str(info.get("Driver", "?")),
        containerd=status.get("driver-type") == "io.containerd.snapshotter.v1"
        or status.get("driver-type", "").startswith("io.containerd.snapshotter"),
        rootless=any("rootless" in str(each) for each in info.get("SecurityOptions") or ()),
    )


def _address(host: str, named_by: str = "envbuild.toml") -> tuple[str, str, Any]:
    """Address, where it came from, and its TLS configuration."""
    if host:
        return host if "://" in host else f"unix://{Path(host).expanduser().absolute()}", named_by, None
    if os.environ.get("DOCKER_HOST"):
        from docker.errors import TLSParameterError
        from docker.utils import kwargs_from_env

        try:
            found = kwargs_from_env()
        except TLSParameterError as error:
            raise EngineError(
                f"the certificates in DOCKER_CERT_PATH for DOCKER_HOST cannot be used: {str(error).splitlines()[0]}"
            ) from None
        return str(found["base_url"]), "DOCKER_HOST", found.get("tls")
    context = _context()
    if context is not None:
        return context
    sockets = _sockets()
    there = [path for path in sockets if Path(path).exists()]
    return f"unix://{(there or sockets)[0]}", "the default", None


def _context() -> tuple[str, str, Any] | None:
    """What the current Docker context says; nothing for the default one, and without any configuration of Docker."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    if not os.environ.get("DOCKER_CONTEXT") and not (folder / "config.json").is_file():
        return None
    from docker.context import ContextAPI
    from docker.context.config import get_current_context_name
    from docker.errors import DockerException

    try:
        name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name() or "default"
        if name == "default":
            return None
        found = ContextAPI.kwargs_from_context(name)
    except (DockerException, OSError, ValueError, AttributeError, KeyError) as error:
        raise EngineError(f"Docker's configuration in {folder} cannot be read: {error}") from None
    if not found:
        cure = "unset DOCKER_CONTEXT" if os.environ.get("DOCKER_CONTEXT") else "docker context use default"
        raise EngineAddressError(f'the Docker context "{name}" does not exist; see docker context ls, or {cure}')
    return str(found["base_url"]), f'the Docker context "{name}"', found.get("tls")


def _sockets() -> list[str]:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    own = [f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock"] if runtime else []
    return [_DOCKER_SOCKET, *own, "/run/podman/podman.sock"]


def _check(address: str, origin: str) -> None:
    from docker.errors import DockerException
    from docker.utils import parse_host

    try:
        parse_host(address)
    except (DockerException, ValueError) as error:
        raise EngineAddressError(
            f"{address!r} (from {origin}) is no engine's address ({error}); write unix:///PATH or tcp://HOST:PORT"
        ) from None


def _probe(address: str, origin: str) -> None:
    """A socket that cannot be opened is told from one where nobody answers."""
    if not address.startswith(("unix://", "http+unix://")):
        return
    path = "/" + address.partition("://")[2].lstrip("/")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(30)
            connection.connect(path)
        except OSError as error:
            raise EngineError(f"{_reason(error, path)} (the address {address} is from {origin})") from None


def _reason(error: OSError, path: str) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"the socket {path} may not be opened by this user: have yourself added to the group docker, or use Podman "
            "or Docker without root"
        )
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
        return (
            f"no container engine listens at {path}: start Docker Engine (systemctl start docker, or dockerd) or "
            f"Podman (podman system service --time=0 unix://{path}), or set DOCKER_HOST to where one listens"
        )
    return f"the socket {path} cannot be used: {error.strerror or error}"


def _innermost(text: str) -> str:
    """What the system said, out of the layers of clients around it."""
    found = re.search(r"\[Errno -?\d+\] ([^()\"']+)", text) or re.search(r"\((?:\d+, )?'([^'()]+)'\)", text)
    return found[1] if found else text


def _cure(text: str) -> str:
    if "no space left on device" in text.lower():
        return "; its disk is full: make room there (docker system prune) and try again"
    if "container-init binary not found" in text:
        return "; install catatonit there, which Podman runs as a container's first process"
    return ""
