"""The log of a run, byte for byte: as it is, or as it grows until the run has ended. Attach as often as you like."""

import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from .run import RunRecord, load_folder

_POLL = 0.1
"""Seconds between two looks at the log."""

_PIECE = 1 << 16


def read_log(run: RunRecord) -> Iterator[bytes]:
    """Yield the pieces of `run`'s driver log as it stands."""
    with run.driver_log.open("rb") as log:
        yield from _pieces(log)


def follow_log(run: RunRecord, looking: Callable[[], object] = lambda: None) -> Iterator[bytes]:
    """Yield the pieces of `run`'s driver log as they come; ends when the run has ended and all of it was read.

    `looking` is called before each look, also while nothing comes: what it raises ends this.
    """
    with run.driver_log.open("rb") as log:
        while True:
            looking()
            ended = load_folder(run.folder).is_final  # asked first: what is written before the end is read below
            yield from _pieces(log)
            if ended:
                return
            time.sleep(_POLL)


def _pieces(log: BinaryIO) -> Iterator[bytes]:
    while piece := log.read(_PIECE):
        yield piece
