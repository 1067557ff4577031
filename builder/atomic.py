"""Writing so that a reader never sees half of anything, whoever is killed when.

Files and folders are made under a temporary name beside their final place and renamed. Whoever makes one holds a
lock (flock) on it, so that the next writer can tell a leftover of a killed process from work in progress: a
temporary name whose lock is free has no owner, and is removed. The kernel drops the lock with the process, also
after `kill -9` and in another pid namespace. Who removes holds that lock until all is gone: whoever was just about to
take it for a name that was seconds old finds the name gone, and takes another.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TEMPORARY = ".tmp-"
_OURS = re.compile(r"\.tmp-\d+-[0-9a-f]{8}")
"""What `_temporary_name` gives."""
_TRIES = 1000
"""Names tried in a folder that is there: no sweeper takes as many, but in some, as /proc, nothing can be made."""
_LOOK_AGAIN = 0.2
"""Seconds between two looks at a lock that somebody holds."""


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
    temporary, descriptor = _new_temporary(path.parent, _make_file)
    try:
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
    temporary, descriptor = _new_temporary(path.parent, _make_folder)
    try:
        yield temporary
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
            remove_tree(temporary)
    except BaseException:
        remove_tree(temporary)
        raise
    finally:
        os.close(descriptor)


@contextmanager
def scratch_file(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary file in `folder`, for a name that its content decides; unless it is moved, it goes."""
    temporary, descriptor = _new_temporary(folder, _make_file)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a folder of `parent` for the block alone; it is removed afterwards, or by `sweep` after a kill."""
    temporary, descriptor = _new_temporary(parent, _make_folder)
    try:
        yield temporary
    finally:
        remove_tree(temporary)
        os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove `folder`, also where folders in it are not readable or writable, or lie deeper than a path or a recursion
    can reach: a job may have made them. A missing one is fine; what nobody lets us remove stays.
    """
    with suppress(OSError, RecursionError):  # another process removes it too, or see below
        for parent, folders, _ in os.walk(folder):
            os.chmod(parent, 0o700)
            for name in folders:
                if not os.path.islink(f"{parent}/{name}"):
                    os.chmod(f"{parent}/{name}", 0o700)
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    while os.path.lexists(folder) and _flatten(os.fspath(folder)):
        pass
    with suppress(OSError):
        os.rmdir(folder)


def discard(path: Path) -> None:
    """Remove a file or folder so that no reader ever sees half of it, also when this process is killed meanwhile.

    It loses its name first; what is left of it then is swept away like any leftover.
    """
    temporary = _temporary_name(path.parent)
    try:
        path.rename(temporary)
    except FileNotFoundError:
        return
    if temporary.is_dir() and not temporary.is_symlink():
        remove_tree(temporary)
    else:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path, *, shared: bool = False) -> int:
    """Remove what killed writers left directly in `folder`; return how many entries that were.

    In one that is `shared` with whatever a user has there, only what is named exactly as we name it can be ours.
    """
    removed = 0
    if not folder.is_dir():
        return 0
    for entry in folder.iterdir():
        if not entry.name.startswith(_TEMPORARY) or (shared and not _OURS.fullmatch(entry.name)):
            continue
        with _abandoned(entry) as abandoned:
            if not abandoned:
                continue
            if entry.is_dir():
                remove_tree(entry)
            else:
                entry.unlink(missing_ok=True)
            removed += 1
    return removed


def is_leftover(entry: Path) -> bool:
    """Whether `entry` is a temporary name that a killed writer left."""
    if not entry.name.startswith(_TEMPORARY):
        return False
    with _abandoned(entry) as abandoned:
        return abandoned


@contextmanager
def key_lock(folder: Path, key: str, wait: Callable[[float], None] | None = None) -> Iterator[None]:
    """Hold the lock `key` of `folder`, so that two processes do one piece of work once.

    Nothing ends the kernel's own waiting but a signal, and that only in the main thread: elsewhere `wait` lets some
    seconds pass before the next look, and raises when the work is given up.
    """
    locks = folder / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(locks / f"{key}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if wait is None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        else:
            while not _lock_at_once(descriptor):
                wait(_LOOK_AGAIN)
        yield
    finally:
        os.close(descriptor)


def _flatten(folder: str) -> bool:
    """Remove the files of `folder` and of its folders, and move what these hold up into it; whether anything was done.

    No path gets longer than two names, however deep the tree is.
    """
    done = False
    for entry in _entries(folder):
        for inner in _entries(entry.path) if entry.is_dir(follow_symlinks=False) else ():
            done |= _remove_or_move(inner, f"{folder}/{secrets.token_hex(8)}")
        done |= _remove_or_move(entry, None)
    return done


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with suppress(OSError):
        os.chmod(folder, 0o700)
        with os.scandir(folder) as scan:
            return list(scan)
    return []


def _remove_or_move(entry: os.DirEntry[str], target: str | None) -> bool:
    """Remove `entry`; a folder is moved to `target`, or removed when it is empty."""
    with suppress(OSError):
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
        elif target is None:
            os.rmdir(entry.path)
        else:
            os.chmod(entry.path, 0o700)
            os.rename(entry.path, target)
        return True
    return False


def _lock_at_once(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _temporary_name(folder: Path) -> Path:
    return folder / f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"


def _new_temporary(folder: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """A temporary name in `folder` that `make` has made, and the descriptor that holds its lock."""
    folder.mkdir(parents=True, exist_ok=True)
    left = _TRIES
    while True:
        temporary = _temporary_name(folder)
        try:
            descriptor = make(temporary)
        except FileNotFoundError:
            left -= 1
            if left and folder.is_dir():
                continue  # swept away before it could be opened
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(descriptor), os.stat(temporary)):
                return temporary, descriptor
        except FileNotFoundError:
            pass  # swept away before it was locked
        except BaseException:
            os.close(descriptor)
            discard(temporary)
            raise
        os.close(descriptor)


def _make_file(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)


def _make_folder(path: Path) -> int:
    path.mkdir(mode=0o755)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


@contextmanager
def _abandoned(entry: Path) -> Iterator[bool]:
    """Whether nobody holds the temporary name `entry`; until the block ends we do."""
    try:
        descriptor = os.open(entry, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
