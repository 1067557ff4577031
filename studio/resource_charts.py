"""`resources.jsonl` in, curves of what a job uses out: processors, memory, each GPU; only what is new after a cursor.

Processor time is a counter, so a point needs the sample before it. The cursor is therefore the place of the last sample
that was read, not the one behind it: whoever goes on from there reads that sample once more.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from envbuild.trainer.run_files import open_inside

FILE = "resources.jsonl"

_GB = 1e9


def resource_curves(folder: Path, cursor: dict[str, int], limit: int) -> list[dict[str, Any]]:
    """What the run in `folder` used after `cursor`, which is moved: curves as `charts.curve` gives them.

    Of more than `limit` samples each point stands for several: processors by their mean, the rest by the highest.
    """
    samples, last = _samples(folder, cursor.get(FILE, 0))
    if len(samples) < 2:
        return []
    cursor[FILE] = last
    stretch = -(-(len(samples) - 1) // limit)
    edges = [*range(0, len(samples) - 1, stretch), len(samples) - 1]
    stretches = [samples[before : after + 1] for before, after in pairwise(edges)]
    curves = [
        _curve("processors", "", stretches, _processors),
        _curve("memory, GB", "", stretches, lambda part: max(sample["memory"] for sample in part[1:]) / _GB),
    ]
    for gpu in sorted({index for sample in samples for index in sample["gpus"]}):
        label = f"GPU {gpu}"
        curves.append(_curve("GPU, %", label, stretches, _highest(gpu, "utilization", 1)))
        curves.append(_curve("GPU memory, GB", label, stretches, _highest(gpu, "memory", _GB)))
    return curves


def _samples(folder: Path, begin: int) -> tuple[list[dict[str, Any]], int]:
    """The whole samples from byte `begin` on, and where the last of them begins."""
    file = open_inside(folder, FILE)
    if file is None:
        return [], begin
    with file:
        position = file.seek(max(0, begin))
        found = []
        for line in file:
            if line.endswith(b"\n") and (sample := _sample(line)):
                found.append(sample)
                begin = position
            position += len(line)
    return found, begin


def _sample(line: bytes) -> dict[str, Any] | None:
    try:
        record = orjson.loads(line)
        return {
            "t": float(record["t"]),
            "cpu_seconds": float(record["cpu_seconds"]),
            "memory": int(record["memory"]),
            "gpus": {int(gpu["index"]): gpu for gpu in record.get("gpus") or ()},
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _curve(
    name: str, label: str, stretches: list[list[dict[str, Any]]],
    value: Callable[[list[dict[str, Any]]], float | None],
) -> dict[str, Any]:  # fmt: skip
    values = [value(part) for part in stretches]
    return {
        "name": name,
        "run": "",
        "label": label,
        "count": len(values),
        "last": values[-1],
        "values": values,
        "times": [part[-1]["t"] for part in stretches],
    }


def _processors(part: list[dict[str, Any]]) -> float | None:
    seconds = part[-1]["t"] - part[0]["t"]
    return max(0.0, part[-1]["cpu_seconds"] - part[0]["cpu_seconds"]) / seconds if seconds > 0 else None


def _highest(gpu: int, what: str, unit: float) -> Callable[[list[dict[str, Any]]], float | None]:
    def value(part: list[dict[str, Any]]) -> float | None:
        return max((number / unit for number in _numbers(part[1:], gpu, what)), default=None)

    return value


def _numbers(part: list[dict[str, Any]], gpu: int, what: str) -> Iterator[float]:
    for sample in part:
        number = sample["gpus"].get(gpu, {}).get(what)
        if isinstance(number, int | float):
            yield number
