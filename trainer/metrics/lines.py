"""Reads `metrics.jsonl`: one JSON object a line, as `trainer/job` writes it (docs/metrics.md has the format).

    {"k":"loss","v":2.19,"s":0,"t":1795453854.25}        optional: kind, rank, run, process

Lines are parsed as one JSON array, which is twice as quick as one by one; only when that fails (a damaged line) is each
line looked at alone. An unfinished last line is not consumed: it is read once it is whole.
"""

import json
import math
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import orjson

from . import LAST_STEP, Entry, RunMetrics, SeriesKey, is_moment, moment, step_of
from .growing_file import new_lines

FILE = "metrics.jsonl"

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_BEGIN = b'{"k":"'
"""How our writer's lines begin; one that begins otherwise is looked at whole."""

_MARK = b'"kind"'

_CHILD_FILES = re.compile(r"children/\w[\w.-]*")
"""A folder of a child's files; nothing else of the run is one."""


def read_lines(folder: Path, found: RunMetrics, only: Collection[str] | None = None) -> None:
    """Add what `metrics.jsonl` in `folder` holds beyond `found.cursor`, and move the cursor."""
    for whole in new_lines(folder, FILE, found):
        if not _add_one_curve(found, whole, only):
            _add(found, _parse(_wanted(whole, only)), only)


def read_notes(folder: Path, found: RunMetrics) -> None:
    """As `read_lines`, but only what is no number: of millions of numbers each costs one look for a word."""
    for whole in new_lines(folder, FILE, found):
        if _MARK in whole:
            _add(found, _parse([line for line in whole.split(b"\n") if _MARK in line]), None)


def _wanted(data: bytes, only: Collection[str] | None) -> list[bytes]:
    """The lines of `data`; with `only`, without those that begin with another name, as our writer's lines do."""
    lines = data.split(b"\n")
    if only is None:
        return lines
    starts = tuple(b'{"k":' + text for name in only for text in (orjson.dumps(name), json.dumps(name).encode()))
    if data.startswith(_BEGIN) and data.count(b"\n" + _BEGIN) == len(lines) - 1:
        return [line for line in lines if line.startswith(starts)]
    return [line for line in lines if line.startswith(starts) or not line.startswith(_BEGIN)]


def _parse(lines: list[bytes]) -> Iterable[Any]:
    try:
        records: list[Any] = orjson.loads(b"[" + b",".join(filter(None, lines)) + b"]")
        return records
    except orjson.JSONDecodeError:
        return _parse_each(lines)


def _parse_each(lines: list[bytes]) -> Iterable[Any]:
    for line in lines:
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            continue


def _add_one_curve(found: RunMetrics, data: bytes, only: Collection[str] | None) -> bool:
    """Add the wanted lines of `data` if they are plain numbers of one metric as our writer writes them; else `False`.

    Comparing runs asks for one metric of each: without the names the lines are one JSON list of numbers, which is
    read several times as quickly as an object a line.
    """
    if only is None or len(only) != 1:
        return False
    (name,) = only
    start = b'{"k":' + json.dumps(name).encode() + b',"v":'
    if data.count(start) != data.count(b"\n") + 1:
        data = b"\n".join(filter(None, _wanted(data, only)))
        if not data or data.count(start) != data.count(b"\n") + 1:
            return False
    for text, instead in ((start, b""), (b',"s":', b","), (b',"t":', b","), (b"}\n", b",")):
        data = data.replace(text, instead)
    try:
        numbers = orjson.loads(b"[" + data.removesuffix(b"}") + b"]")
    except orjson.JSONDecodeError:
        return False
    values, steps, times = numbers[0::3], numbers[1::3], numbers[2::3]
    kinds = {*map(type, values), *map(type, times)}
    if len(values) != len(times) or not kinds <= {int, float} or set(map(type, steps)) != {int}:
        return False
    if not _can_be_shown(steps, times):
        return False
    found.series_of(SeriesKey(name)).append(steps, values, times)
    return True


def _add(found: RunMetrics, records: Iterable[Any], only: Collection[str] | None) -> None:
    curves: dict[SeriesKey | str, list[dict[str, Any]]] = {}
    for record in records:
        try:
            name, value = record["k"], record["v"]
            number = value.__class__ is not str or value in _WORDS
            if number and len(record) == 4 and "s" in record and name.__class__ is str:
                key: SeriesKey | str = name  # nearly every line: no more questions
            elif number and "kind" not in record:
                key = _key(str(name), record)
            elif only is None:
                _add_other(found, str(name), str(record.get("kind", "text")), record)
                continue
            else:
                continue
            points = curves.get(key)
            if points is None:
                points = curves[key] = []
            points.append(record)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            continue
    for writer, points in curves.items():
        key = SeriesKey(writer) if isinstance(writer, str) else writer
        if only is None or key.name in only:
            _add_points(found, key, points)


def _key(name: str, record: dict[str, Any]) -> SeriesKey | str:
    """Whose number it is; only the name where the run itself wrote it."""
    run, rank, process = str(record.get("run", "")), _whole(record.get("rank")), _whole(record.get("process"))
    return SeriesKey(name, run, rank, process) if run or rank is not None or process is not None else name


def _add_points(found: RunMetrics, key: SeriesKey, points: list[dict[str, Any]]) -> None:
    """Whole columns at once; one point after the other only where a value is not simply a number."""
    values = [point["v"] for point in points]
    try:
        steps = [point["s"] for point in points]
        times = [point["t"] for point in points]
    except KeyError:
        steps = times = []
    plain = steps and {*map(type, values), *map(type, times)} <= {int, float} and set(map(type, steps)) == {int}
    if plain and _can_be_shown(steps, times):
        found.series_of(key).append(steps, values, times)
        return
    for point in points:
        try:
            value = point["v"]
            if type(value) not in (int, float):
                value = _WORDS[value] if isinstance(value, str) else float(value)
            found.series_of(key).append([step_of(point["s"])], [value], [moment(point["t"])])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue


def _can_be_shown(steps: list[int], times: list[float]) -> bool:
    return max(steps) <= LAST_STEP and is_moment(min(times)) and is_moment(max(times))


def _add_other(found: RunMetrics, name: str, kind: str, record: dict[str, Any]) -> None:
    value, run = record["v"], str(record.get("run", ""))
    if kind in ("tags", "properties"):
        texts = {str(key): _text(each) for key, each in value.items()}
        getattr(found.notes_of(run), kind).update(texts)
    elif kind == "child":
        words = {key: _text(value.get(key)) for key in ("parent", "name", "files")}
        began = moment(record["t"])
        notes = found.notes_of(run)
        notes.parent, notes.name = words["parent"], words["name"]
        notes.files = words["files"] if _CHILD_FILES.fullmatch(words["files"]) else ""
        notes.began, notes.log_begin = began, _whole(record.get("log"))
    elif kind == "status":
        ended, status, error = moment(record["t"]), str(value), str(record.get("error") or "")
        notes = found.notes_of(run)
        notes.status, notes.error = status, error
        notes.ended, notes.log_end = ended, _whole(record.get("log"))
    else:
        orjson.dumps(value)  # raises for what lies so deep that nobody can show it
        found.entries.append(
            Entry(
                name, kind, value, moment(record["t"]), _whole(record.get("s")), run,
                _whole(record.get("rank")), _whole(record.get("process")),
            )
        )  # fmt: skip


def _whole(value: Any) -> int | None:
    return value if value.__class__ is int else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(orjson.dumps(value), "utf-8")
