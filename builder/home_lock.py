"""Who uses a home: builds and starting runs share it, `gc` has it alone, and what is mounted is held by itself.

All three are locks of the kernel (flock(2)) on folders that are there anyway: they need no room on a full disk, and
they go with their process however it ends. The home folder's own lock is shared by whoever makes or looks for
things that `gc` might remove. A job may run for days, so it does not keep that one: it holds the folders it has
mounted, and `gc` leaves a folder that somebody holds.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from envbuild.errors import InputError, StoreError

from .report import Reporter

_TRIES = 5
_PAUSE = 0.05
"""Seconds between two tries."""
_LOCKS = Path("/proc/locks")
"""proc(5): one line a lock: `1: FLOCK  ADVISORY  READ 14745 fe:00:2155514 0 EOF`."""


@contextmanager
def sharing(home: Path, reporter: Reporter) -> Iterator[None]:
    """Keep `gc` out until the block ends; wait for one that is running, and say so.

    Raises:
        InputError: there can be no home where `home` is.
    """
    descriptor = _open(home)
    try:
        if not _try(descriptor, fcntl.LOCK_SH):
            reporter.say(f"waiting for {_holders(home) or 'envbuild gc'} to end")
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Keep everybody else out until the block ends.

    Raises:
        InputError: there can be no home where `home` is.
        StoreError: somebody builds or starts a run now; the message says who. Or the file system knows no locks.
    """
    descriptor = _open(home)
    try:
        try:
            holders = _take(descriptor, home)
        except OSError as error:
            raise StoreError(
                f"{home} is on a file system without locks ({error.strerror}); nothing can be collected there safely"
            ) from None
        if holders:
            raise StoreError(f"{home} is in use by {holders}; wait for it, then try again")
        yield
    finally:
        os.close(descriptor)


@contextmanager
def holding(folders: Iterable[Path]) -> Iterator[None]:
    """Keep `gc` from removing `folders` until the block ends; one that is missing is passed over.

    To be begun while the home is shared: between a look whether they are there and this, nothing can vanish then.
    """
    with ExitStack() as stack:
        for folder in folders:
            try:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue
            stack.callback(os.close, descriptor)
            with suppress(OSError):  # a file system without locks, where gc refuses to work
                fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


def _open(home: Path) -> int:
    try:
        home.mkdir(parents=True, exist_ok=True)
        return os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        reason = "it is no folder" if home.exists() and not home.is_dir() else error.strerror
        raise InputError(f"{home} cannot be the home of envbuild: {reason}; set ENVBUILD_HOME to a folder") from None


def is_held(folder: Path) -> bool:
    """Whether somebody holds `folder`."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _try(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _take(descriptor: int, home: Path) -> str:
    """Take the home for ourselves; return who has it instead.

    A holder whom this machine does not show may just have ended, so it is tried again, or be one of another machine.
    """
    for _ in range(_TRIES):
        if _try(descriptor, fcntl.LOCK_EX, strict=True):
            return ""
        if holders := _holders(home):
            return holders
        time.sleep(_PAUSE)
    return "another process"


def _try(descriptor: int, kind: int, *, strict: bool = False) -> bool:
    """Whether the lock was had at once. Where a file system knows no locks, only `gc` minds (`strict`)."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
            return False
        if strict:
            raise
    return True


def _holders(folder: Path) -> str:
    """Who has a lock on `folder`, as far as this machine tells: `envbuild register small.yml (process 4711)`."""
    status = folder.stat()
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = [line.split() for line in _LOCKS.read_text().splitlines()]
    except OSError:
        return ""
    pids = sorted({int(line[4]) for line in lines if line[1] == "FLOCK" and line[5] == place and line[4].isdecimal()})
    return ", ".join(f"{_command(pid)} (process {pid})" for pid in pids if pid not in (0, os.getpid()))


def _command(pid: int) -> str:
    """The command line of a process, from `envbuild` on."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "a process"
    words = [word for word in words if word]
    start = next((index for index, word in enumerate(words) if Path(word).name == "envbuild"), None)
    return " ".join(["envbuild", *words[start + 1 :]]) if start is not None else " ".join(words) or "a process"
