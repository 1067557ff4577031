"""Writing so that a reader never sees half of anything, whoever is killed when.

Files and folders are made under a temporary name beside their final place and renamed. Whoever makes one holds a
lock (flock) on it, so that the next writer can tell a leftover of a killed process from work in progress: a
temporary name whose lock is free has no owner, and is removed. The kernel drops the lock with the process, also
after `kill -9` and in another pid namespace.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

_TEMPORARY = ".tmp-"


def write_file(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Put `data` at `path` in one step; with `durable`, only after the disk has it.

    Raises:
        OSError: the disk is full or the folder cannot be written; `path` is then as it was before.
    """
    with new_file(path, durable=durable) as temporary:
        temporary.write_bytes(data)


@contextmanager
def new_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield an empty temporary file beside `path`; rename it to `path` when the block succeeds, else remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path.parent)
    descriptor = os.open(temporary, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield temporary
        if durable:
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; rename it to `path` when the block succeeds, else remove it.

    When another process has put the same content at `path` meanwhile, that one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path.parent)
    temporary.mkdir(mode=0o755)
    descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield temporary
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
            shutil.rmtree(temporary)
    except BaseException:
        remove_tree(temporary)
        raise
    finally:
        os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove `folder`, also where folders in it are not writable; a missing one is fine."""
    for parent, _, _ in os.walk(folder):
        os.chmod(parent, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> int:
    """Remove what killed writers left directly in `folder`; return how many entries that were."""
    removed = 0
    if not folder.is_dir():
        return 0
    for entry in folder.iterdir():
        if entry.name.startswith(_TEMPORARY) and _is_abandoned(entry):
            if entry.is_dir():
                remove_tree(entry)
            else:
                entry.unlink(missing_ok=True)
            removed += 1
    return removed


@contextmanager
def key_lock(folder: Path, key: str) -> Iterator[None]:
    """Hold the lock `key` of `folder`, so that two processes do one piece of work once."""
    locks = folder / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"{key}.lock"):
        yield


def _temporary_name(folder: Path) -> Path:
    return folder / f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"


def _is_abandoned(entry: Path) -> bool:
    try:
        descriptor = os.open(entry, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
