"""How much may come out of an archive: none is unpacked that was made to fill the disk or the memory.

A lock, a repodata and an index know a package's compressed size at best, and a few kilobytes can unpack to terabytes.
Real packages unpack to 2 to 10 times their size, text to 50 times, and the largest to some 10 GiB.
"""

import zipfile
from pathlib import Path

from envbuild.errors import PackageError

from ..layers.tar_reader import Source
from ..report import size

_ALWAYS = 1 << 30
"""Bytes that any package may unpack to, however small it is."""
_RATIO = 100
"""How many times its own size a larger one may."""
MAX_METADATA = 256 << 20
"""Bytes of one file that is read whole, such as `info/paths.json`: of a million paths it is about that long."""


def most_unpacked(file: Path) -> int:
    """How many bytes may come out of the archive `file`."""
    return max(_ALWAYS, _RATIO * file.stat().st_size)


def too_large(file: Path, what: str = "it", most: int | None = None) -> PackageError:
    """The error about `file`, of which `what` unpacks to more than `most` bytes; by default, than all of it may."""
    limit = most_unpacked(file) if most is None else most
    return PackageError(
        f"{file.name} ({size(file.stat().st_size)}) is refused: {what} unpacks to more than {size(limit)}, which no "
        "real package does; ask who runs its channel or index"
    )


def refuse_large_zip(archive: zipfile.ZipFile, file: Path) -> None:
    """Raise PackageError when the members of `archive` say that they are too much; zipfile reads no more of them."""
    if sum(info.file_size for info in archive.infolist()) > most_unpacked(file):
        raise too_large(file)


class Bounded:
    """Decompressed bytes of `file`, up to what may come out of it."""

    def __init__(self, source: Source, file: Path) -> None:
        self._source = source
        self._file = file
        self._left = most_unpacked(file)

    def readinto(self, buffer: memoryview, /) -> int | None:
        """As of `Source`.

        Raises:
            PackageError: there is more.
        """
        count = self._source.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise too_large(self._file)
        return count
