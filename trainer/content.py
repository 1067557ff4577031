"""File contents, kept once under their sha256, whoever has them: snapshots and data sets.

A file is read in pieces, and nothing is held in memory. Where the file system can share
blocks (btrfs, XFS: FICLONE) the copy costs no room. A kept file is never written again, so that links to it are safe.
"""

import errno
import fcntl
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from envbuild.builder import atomic

_PIECE = 1 << 20
_FICLONE = 0x40049409
"""ioctl_ficlone(2)."""


class Unsteady(Exception):
    """A file was changed while it was read."""


@dataclass(frozen=True)
class Content:
    """What a file holds."""

    sha256: str
    size: int
    """Bytes."""


def keep_file(path: Path, store: Path) -> Content:
    """Keep the content of `path` in the folder `store` as a file named by its sha256; only read when it is there.

    Raises:
        Unsteady: the file was changed meanwhile.
        OSError: it cannot be read, or the disk is full.
    """
    with path.open("rb") as reading:
        before = os.fstat(reading.fileno())
        sha256, size = _read(reading, None)
        if not (store / sha256).exists():
            with atomic.new_file(store / sha256) as temporary:
                if _copy(reading, temporary) != sha256:
                    raise Unsteady(path)
                temporary.chmod(0o444)
        after = os.fstat(reading.fileno())
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, size):
        raise Unsteady(path)
    return Content(sha256, size)


def link_file(kept: Path, target: Path) -> None:
    """Show the kept file as `target`: a hard link, or a copy on another file system or beyond its number of links."""
    try:
        target.hardlink_to(kept)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP):
            raise
        shutil.copy(kept, target)


def _copy(reading: BinaryIO, target: Path) -> str:
    """Copy the whole file to `target`, and return the sha256 of what was copied."""
    reading.seek(0)
    with target.open("w+b") as writing:
        try:
            fcntl.ioctl(writing.fileno(), _FICLONE, reading.fileno())
        except OSError:  # no shared blocks here
            return _read(reading, writing)[0]
        return _read(writing, None)[0]


def _read(reading: BinaryIO, copy: BinaryIO | None) -> tuple[str, int]:
    """The sha256 and the size of what is left to read, written to `copy` on the way."""
    sha256, size = hashlib.sha256(), 0
    while piece := reading.read(_PIECE):
        sha256.update(piece)
        size += len(piece)
        if copy:
            copy.write(piece)
    return sha256.hexdigest(), size
