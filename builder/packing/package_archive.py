"""A conda package file in, its members out: the one place that knows the two formats.

`.conda` is a zip with a zstd-compressed tar for `info/` and one for the files; `.tar.bz2` is one tar with both
(conda-build's documentation, "Conda package specification").
"""

import bz2
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..layers.tar_reader import TarError, TarReader
from .unpacked_size import Bounded

INFO, FILES = "info", "pkg"
_READ = 1 << 17
"""Compressed bytes at a time."""
_MAX_WINDOW = 1 << 27
"""Bytes that a decompressor may hold: what `zstd --ultra -22` writes, and no more."""


@contextmanager
def open_package(file: Path, part: str) -> Iterator[TarReader]:
    """The members of the part `INFO` or `FILES` of `file`; of a `.tar.bz2`, those of both.

    Raises:
        PackageError: more comes out of it than may; while the members are read.
        Exception: the archive libraries' own errors, and `TarError`, while the members are read.
    """
    if file.name.endswith(".tar.bz2"):
        with bz2.open(file) as whole:
            yield TarReader(Bounded(whole, file))
        return
    import zstandard

    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.startswith(f"{part}-") and name.endswith(".tar.zst")]
        if len(names) != 1:
            raise TarError(f"it has {len(names)} parts {part}-*.tar.zst instead of one")
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        with archive.open(names[0]) as compressed:
            reader = decompressor.stream_reader(compressed, read_size=_READ, read_across_frames=True)
            yield TarReader(Bounded(reader, file))
