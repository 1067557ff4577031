"""The whole lines of a file that grows, from where the last reading stopped; an unfinished last line is left for later.

The file is written by a job, which may make it as large as it likes at no cost, with holes: what has no line breaks is
passed over, and so are the holes in that.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..run_files import open_inside
from . import RunMetrics

_BATCH = 1 << 22
"""Bytes read at a time."""

_LONGEST = 1 << 26
"""Bytes of a line that are waited for; four times what a job of ours writes."""


def new_lines(folder: Path, name: str, found: RunMetrics) -> Iterator[bytes]:
    """Whole lines of the file `name` beyond `found.cursor`, many at a time; moves the cursor when all are read."""
    file = open_inside(folder, name)
    if file is None:
        return
    with file:
        offset = file.seek(max(0, found.cursor.get(name, 0)))
        rest = b""
        while piece := file.read(_BATCH):
            rest += piece
            whole, newline, rest_after = rest.rpartition(b"\n")
            if newline:
                rest = rest_after
                offset += len(whole) + 1
                yield whole
            elif len(rest) > _LONGEST:
                offset, rest = _behind_hole(file, offset + len(rest)), b""
        found.cursor[name] = offset


def _behind_hole(file: BinaryIO, offset: int) -> int:
    """Go on at the first byte from `offset` on that was written (lseek(2), SEEK_DATA), at the end if there is none."""
    try:
        return file.seek(os.lseek(file.fileno(), offset, os.SEEK_DATA))
    except OSError:
        return file.seek(0, os.SEEK_END)
