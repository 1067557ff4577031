"""Fewer points that draw the same curve: of every stretch the lowest and the highest, and always the first and last."""

import math
from collections.abc import Sequence


def sample(values: Sequence[float], limit: int) -> list[int]:
    """Which of `values` to draw, as rising positions, at most `limit` (4 or more).

    No extreme is lost, unlike with averages or every n-th point: a single spike among a million values stays. NaN and
    infinities have no place on an axis; they are kept only while everything fits.

    Raises:
        ValueError: `limit` is less than 4.
    """
    if limit < 4:
        raise ValueError(f"{limit} points cannot hold the first, the last and the extremes; 4 can")
    count = len(values)
    if count <= limit:
        return list(range(count))
    if all(map(math.isfinite, values)):
        inner: Sequence[int] = range(1, count - 1)
    else:
        inner = [position for position in range(1, count - 1) if math.isfinite(values[position])]
    stretches = (limit - 2) // 2
    kept = {0, count - 1}
    for number in range(stretches):
        stretch = inner[number * len(inner) // stretches : (number + 1) * len(inner) // stretches]
        if stretch:
            kept.add(min(stretch, key=values.__getitem__))
            kept.add(max(stretch, key=values.__getitem__))
    return sorted(kept)
