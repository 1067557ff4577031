"""Who supervises a run, and whether that process lives: a lock that the kernel keeps, and the name of the process.

The supervisor holds a lock (flock(2)) on `supervisor.lock` in the run's folder from before anybody can see the record
until the run has ended. The kernel lets go of it with the process, however that ends, and shows it to every container
of the machine, and to other machines where the file system carries locks: a held lock is proof of life everywhere.
A lock that is free is proof of death only for processes of one kernel (the record says which), because many shared
file systems keep locks to each machine. Where it proves nothing (no lock could be had, an older record, another
machine) the process is looked up by its pid and start, and on another host the record is believed.
"""

import fcntl
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LOCK_NAME = "supervisor.lock"

_held: dict[str, int] = {}
"""The descriptor of each lock that this process holds, by the run's id."""


def take_lock(folder: Path, run_id: str) -> None:
    """Make and hold the lock of the run that is kept in `folder`, which nobody has seen yet.

    On a file system without locks no file is left, and the run is known by its process alone.
    """
    path = folder / LOCK_NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        path.unlink()
    else:
        _held[run_id] = descriptor


def held_lock(run_id: str) -> int | None:
    """The descriptor of the run's lock, when this process holds it; who inherits it holds the same lock."""
    return _held.get(run_id)


def adopt_lock(folder: Path, run_id: str, descriptor: int) -> None:
    """Keep the lock that this process has inherited as `descriptor`, and let no child of ours have it."""
    with suppress(OSError):  # a launcher between us and our parent has closed it: our process is known all the same
        if os.path.samestat(os.fstat(descriptor), os.stat(folder / LOCK_NAME)):
            os.set_inheritable(descriptor, False)
            _held[run_id] = descriptor


def release_lock(run_id: str) -> None:
    """Let go of the run's lock, if this process has it; who has inherited it keeps it."""
    descriptor = _held.pop(run_id, None)
    if descriptor is not None:
        os.close(descriptor)


@contextmanager
def releasing_lock(run_id: str) -> Iterator[None]:
    """Let go of the run's lock when the block ends."""
    try:
        yield
    finally:
        release_lock(run_id)


def _close_in_child() -> None:
    """A fork without exec would keep the locks of its parent, and with them the runs of a parent that is gone."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


def is_alive(folder: Path, document: Mapping[str, Any]) -> bool:
    """Whether the supervisor of the run with the record `document` lives, or is believed to."""
    held = _is_held(folder)
    process = document.get("process") or {}
    if held or _lives(process):
        return True
    if held is False and _is_of_this_start(process):
        return False
    return document.get("host") not in (None, platform.node())


def is_seen(document: Mapping[str, Any]) -> bool:
    """Whether the supervisor's pid means its process here: on this machine, in this pid namespace."""
    process = document.get("process") or {}
    if process.get("boot_id"):
        return _is_of_ours(process)
    return document.get("host") in (None, platform.node())


def is_in_another_container(folder: Path, document: Mapping[str, Any]) -> bool:
    """Whether the supervisor surely lives on this machine, though its process cannot be seen here."""
    process = document.get("process") or {}
    return not is_seen(document) and _is_of_this_start(process) and _is_held(folder) is True


def process_start(pid: int) -> str | None:
    """When process `pid` started, in clock ticks since boot (proc(5), field 22 of stat); `None` when it is gone.

    A pid alone may have been given to another process since.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def process_of(pid: int) -> dict[str, Any]:
    """How a record names the process `pid` of this pid namespace, so that no other one is taken for it anywhere."""
    return {"pid": pid, "start": process_start(pid), "boot_id": boot_id(), "pid_namespace": pid_namespace()}


def boot_id() -> str | None:
    """Tells this machine, since it was started, from every other (random(4)); containers have their machine's."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def pid_namespace() -> int | None:
    """Tells the name space in which a pid means one process from the others of this machine (namespaces(7))."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return None


def _is_held(folder: Path) -> bool | None:
    """Whether somebody holds the run's lock; `None` when there is none, or it tells nothing."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look must not see each other
    except BlockingIOError:
        return True
    except OSError:
        return None
    else:
        return False
    finally:
        os.close(descriptor)


def _lives(process: Mapping[str, Any]) -> bool:
    """Whether the process that a record names is one that we see, and lives."""
    if "pid" not in process or not _is_of_ours(process):
        return False
    start = process_start(int(process["pid"]))
    return start is not None and start == process.get("start")


def _is_of_this_start(process: Mapping[str, Any]) -> bool:
    """Whether the process surely is of this machine since it was started, so that its locks are seen here."""
    return process.get("boot_id") is not None and process["boot_id"] == boot_id()


def _is_of_ours(process: Mapping[str, Any]) -> bool:
    """Whether the process is of this machine's start and pid namespace, as far as the record says."""
    ours = {"boot_id": boot_id(), "pid_namespace": pid_namespace()}
    return all(process.get(key) in (None, value) for key, value in ours.items())
