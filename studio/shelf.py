"""Curves of one metric of many runs, read once and then only as far as they grew.

Comparing reads 300 files; the next look, with another smoothing or after a minute of training, reads what is new in
them. Bounded by points, the least recently used curve goes first; safe for several threads.
"""

import threading
from collections import OrderedDict
from pathlib import Path

from envbuild.trainer.metrics import RunMetrics, Series, read_run

MOST_POINTS = 5_000_000
"""Points that are kept, of all curves together; about 100 bytes each."""


class Shelf:
    """Keeps what was read of runs' metrics."""

    def __init__(self, most_points: int = MOST_POINTS) -> None:
        self._most_points = most_points
        self._kept: OrderedDict[tuple[Path, str], RunMetrics] = OrderedDict()
        self._points: dict[tuple[Path, str], int] = {}
        self._lock = threading.Lock()

    def curve(self, folder: Path, metric: str) -> Series | None:
        """The curve that stands for `metric` in the run of `folder`, as far as it is logged now."""
        place = (folder, metric)
        with self._lock:
            kept = self._kept.pop(place, None)
            more = read_run(folder, kept.cursor if kept else None, only=(metric,))
            if kept is None:
                kept = more
            else:
                kept.extend(more)
            self._kept[place] = kept
            self._points[place] = sum(len(series) for series in kept.series.values())
            self._make_room()
            return kept.main(metric)

    def kept(self) -> list[tuple[Path, str]]:
        """Whose curves of what are kept, the least recently used first."""
        return list(self._kept)

    def _make_room(self) -> None:
        total = sum(self._points.values())
        while total > self._most_points and len(self._kept) > 1:
            oldest, _ = self._kept.popitem(last=False)
            total -= self._points.pop(oldest)
