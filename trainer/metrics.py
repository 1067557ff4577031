"""Reads `metrics.jsonl`: one JSON object a line, as `trainer/job` writes it.

    {"k":"loss","v":2.19,"s":0,"t":1795453854.25}        optional: kind, rank, run

A torn last line (a job that is writing, or was killed) and unknown keys are passed over.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class Point:
    """One logged value."""

    step: int
    value: Any
    """A number, or what a list, row, table or image logged."""
    time: float
    """Seconds since 1970."""
    kind: str = "scalar"
    rank: int | None = None


def read_metrics(path: Path) -> dict[str, list[Point]]:
    """Metric name -> its points, in the order written; empty when nothing was logged."""
    import orjson

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    found: dict[str, list[Point]] = {}
    for line in data.splitlines():
        try:
            record = orjson.loads(line)
            value = record["v"]
            point = Point(
                step=int(record.get("s", len(found.get(record["k"], ())))),
                value=_WORDS.get(value, value) if isinstance(value, str) else value,
                time=float(record["t"]),
                kind=str(record.get("kind", "scalar")),
                rank=record.get("rank"),
            )
        except (ValueError, KeyError, TypeError):
            continue
        found.setdefault(str(record["k"]), []).append(point)
    return found
