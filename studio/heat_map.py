"""Histograms of one name over the steps in, one heat map out: all on the same bins, of few enough steps to draw."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, TypeVar

from envbuild.trainer.metrics.event_values import Histogram

BINS = 60

_Item = TypeVar("_Item")


def spread(items: Sequence[_Item], limit: int) -> list[_Item]:
    """At most `limit` of `items`, evenly spread, the first and the last among them."""
    if len(items) <= limit:
        return list(items)
    return [items[round(number * (len(items) - 1) / (limit - 1))] for number in range(limit)]


def heat_map(histograms: Sequence[tuple[int, Histogram]]) -> dict[str, Any]:
    """`{"steps", "edges", "counts"}` of (step, histogram): `counts[bin][step]`, bins between neighbouring `edges`.

    What a bar counts is spread evenly over its width; a bar without width is in one bin.
    """
    drawn = sorted((each for each in histograms if each[1].bars), key=lambda each: each[0])
    if not drawn:
        return {"steps": [], "edges": [], "counts": []}
    low = min(left for _, histogram in drawn for left, _, _ in histogram.bars)
    high = max(right for _, histogram in drawn for _, right, _ in histogram.bars)
    if low == high:
        low, high = low - 0.5, high + 0.5
    # floats may be near their end: no difference and no product here may become infinite
    edges = [low * (1 - number / BINS) + high * (number / BINS) for number in range(BINS + 1)]
    columns = [_binned(histogram, edges) for _, histogram in drawn]
    return {
        "steps": [step for step, _ in drawn],
        "edges": edges,
        "counts": [list(row) for row in zip(*columns, strict=True)],
    }


def _binned(histogram: Histogram, edges: list[float]) -> list[float]:
    counts = [0.0] * BINS
    for left, right, count in histogram.bars:
        first, last = _bin(left, edges), _bin(right, edges)
        if first == last:
            counts[first] += count
            continue
        for number in range(first, last + 1):
            begin, end = max(left, edges[number]), min(right, edges[number + 1])
            counts[number] += count * (max(0.0, end - begin) / (right - left))
    return counts


def _bin(value: float, edges: list[float]) -> int:
    """The bin that `value` is in; the last one has its right edge, too."""
    return max(0, min(BINS - 1, bisect_right(edges, value) - 1))
