"""Containers of ours: what all of them have, and how one is found whose supervisor is gone.

Labels name the process that looks after a container (machine, pid, start). The engine's own removal of ended ones is
not used, because it takes with it whether memory ran out.
"""

import os
import re
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.builder.publish.engine import Engine, engine_errors
from envbuild.builder.sandbox.command import Mount
from envbuild.errors import EngineError

from ..supervision import boot_id, pid_namespace, process_start
from .gpus import Gpus, find_gpus
from .races import ask_again

if TYPE_CHECKING:
    from docker.models.containers import Container

RUN_LABEL = "dev.envbuild.run"
SUPERVISOR_LABEL = "dev.envbuild.supervisor"
"""`BOOT_ID PID START PID_NAMESPACE` of the process that looks after the container."""

_FORGOTTEN = 3600.0
"""Seconds after which an ended container has nobody who will remove it."""


def common_options(
    engine: Engine, *, image: str, env: Mapping[str, str], cwd: str, user: str, network: str, mounts: Sequence[Mount],
    shm_size: int, gpus: str, specifications: Sequence[Path], run_id: str = "",
) -> dict[str, Any]:  # fmt: skip
    """What every container of ours has, as the SDK's `containers.create` takes it; `user` is empty for the caller.

    Raises:
        InputError: there are no such GPUs among what `specifications` describe, which is asked for Podman.
    """
    from docker.types import LogConfig
    from docker.types import Mount as Bound

    whose, namespace = user_of(user, engine)
    # Podman takes a device request, and starts a container without the device
    found = find_gpus(gpus, specifications) if engine.product == "Podman" else Gpus()
    return {
        "image": image,
        "environment": found.env(env),
        "working_dir": cwd,
        "user": whose,
        "init": True,  # without one, Python as the first process ignores SIGTERM, and nobody reaps
        "shm_size": shm_size,
        "network_mode": network,
        "mounts": [
            Bound(mount.target, str(mount.source), type="bind", read_only=not mount.writable)
            for mount in (*mounts, *found.mounts)
        ],
        "devices": [f"{node.source}:{node.target}:rw" for node in found.devices],
        "security_opt": ["no-new-privileges", "label=disable"],
        "log_config": LogConfig(type="none"),
        "labels": {RUN_LABEL: run_id, SUPERVISOR_LABEL: _supervisor()},
        **({"userns_mode": namespace} if namespace else {}),
        **({"ulimits": _own_limits()} if engine.product == "Podman" else {}),
        **(device_requests(gpus) if engine.product != "Podman" else {}),
    }


def stale_containers(engine: Engine) -> list["Container"]:
    """The containers whose supervisors are gone from this machine, and those that have long ended and are still there.

    The latter are of an earlier start of this machine, or of another one: its supervisor would have removed it at once.
    """
    return [each for each in watched_containers(engine) if _supervisor_is_gone(each) or _is_forgotten(each)]


def remove_stale(engine: Engine) -> int:
    """Remove `stale_containers`; return how many that were."""
    return sum(map(remove, stale_containers(engine)))


def remove(container: "Container") -> bool:
    """Remove a container, running or not; return false when somebody else does so at this moment."""
    from docker.errors import APIError

    with suppress(APIError):
        _remove(container)
        return True
    return False


def _remove(container: "Container") -> None:
    """Remove a container, running or not.

    Podman before 4.4 removes one that another client is just stopping without waiting for its processes, which end a
    moment later (podman pull request 17040).
    """
    ask_again(lambda: container.remove(force=True, v=True))


def _supervisor_is_gone(container: "Container") -> bool:
    words = container.labels.get(SUPERVISOR_LABEL, "").split()
    mine = _supervisor().split()
    # in another name space of processes a pid means another process: a container that uses this engine's socket
    if len(words) != len(mine) or words[0] != mine[0] or words[3] != mine[3] or not words[1].isdecimal():
        return False
    return process_start(int(words[1])) != words[2]


def _is_forgotten(container: "Container") -> bool:
    state = container.attrs["State"]
    moments = [_moment(container.attrs["Created"]), _moment(state.get("FinishedAt", ""))]
    return not state.get("Running") and time.time() - max(moments) > _FORGOTTEN


def _moment(text: str) -> float:
    """Seconds since the epoch of RFC 3339; engines write nine digits of a second, and the year 1 for never."""
    try:
        return datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def watched_containers(engine: Engine) -> list["Container"]:
    """The containers that this target made."""
    every = engine.client.containers
    return list(ask_again(lambda: every.list(all=True, filters={"label": SUPERVISOR_LABEL}, ignore_removed=True)))


@contextmanager
def new_container(engine: Engine, options: dict[str, Any]) -> Iterator["Container"]:
    """A container that is gone when the block ends, however it ends.

    What goes wrong in the block is what is raised, also where the container cannot be removed then: the engine may have
    gone, and the next job there, or `gc`, removes what it comes back with.
    """
    from docker.errors import NotFound

    with engine_errors(engine, "make a container"):
        container = engine.client.containers.create(**options)
    try:
        yield container
    except BaseException:
        with suppress(EngineError), engine_errors(engine, "remove the container"):
            _remove(container)
        raise
    with engine_errors(engine, f"remove the container {container.short_id}"), suppress(NotFound):
        _remove(container)


def user_of(wanted: str, engine: Engine) -> tuple[str, str]:
    """The user of a container, and the user namespace, with which what it writes belongs to the caller."""
    own = f"{os.getuid()}:{os.getgid()}"
    if engine.rootless and engine.product == "Podman":
        return wanted or own, "keep-id"
    # root in a container of an engine without root is the caller outside
    return wanted or ("0:0" if engine.rootless else own), ""


def _own_limits() -> list[Any]:
    """The caller's own limits: what Podman's API gives by itself may be more than Podman, which keeps no more
    processes than there can be pids, is allowed to set."""
    from docker.types import Ulimit

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    pids = int(Path("/proc/sys/kernel/pid_max").read_text())
    processes = min(each for each in (resource.getrlimit(resource.RLIMIT_NPROC)[1], pids) if each > 0)
    found = {"nproc": processes, **({"nofile": files} if files != resource.RLIM_INFINITY else {})}
    return [Ulimit(name=name, soft=most, hard=most) for name, most in found.items()]


def device_requests(wanted: str) -> dict[str, Any]:
    """GPUs by device request: `all`, a number, or ids."""
    if not wanted:
        return {}
    from docker.types import DeviceRequest

    if wanted == "all" or (wanted.isdecimal() and "," not in wanted):
        request = DeviceRequest(count=-1 if wanted == "all" else int(wanted), capabilities=[["gpu"]])
    else:
        request = DeviceRequest(device_ids=wanted.removeprefix("device=").split(","), capabilities=[["gpu"]])
    return {"device_requests": [request]}


def _supervisor() -> str:
    return f"{boot_id()} {os.getpid()} {process_start(os.getpid())} {pid_namespace()}"
