"""Writes runs as TensorBoard's event files, without TensorBoard: DIR/EXPERIMENT/RUN[/CHILD...]/events.out.tfevents.*

Each curve's writer (a rank, a process, a child run) has a folder, which is what TensorBoard calls a run. Numbers are
32-bit floats there; what is larger becomes an infinity. Texts, parameters and tags become texts, images that are PNG
files become images. The file of a run has one name and is replaced as a whole: exporting again doubles nothing.
"""

import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import orjson

from envbuild.builder import atomic

from .metrics import Entry, RunMetrics, Series, SeriesKey, read_run
from .metrics.protobuf import bytes_field, double_field, float_field, varint_field
from .metrics.tfrecord import framed
from .run import RunRecord
from .run_files import open_inside

_FLOAT_MAX = 3.4028234663852886e38
_VERSION = b"brain.Event:2"


def export_tensorboard(run: RunRecord, folder: Path) -> Path:
    """Write `run` below `folder`; return the folder of the run there.

    Raises:
        OSError: the folder cannot be written.
    """
    found = read_run(run.folder)
    target = folder / run.experiment / run.run_id
    places: dict[str, list[bytes]] = {"": []}
    for series in found.series.values():
        places.setdefault(_place(series.key), []).extend(_scalars(series))
    counted: Counter[SeriesKey] = Counter()
    for entry in found.entries:
        key = SeriesKey(entry.name, entry.run, entry.rank, entry.process)
        step = counted[key] if entry.step is None else entry.step  # TensorBoard shows one for each step
        counted[key] += 1
        places.setdefault(_place(key), []).extend(_entry(run, entry, step))
    for child, table in _tables(run, found):
        places.setdefault(_place(SeriesKey("", child)), []).append(table)
    for place, events in places.items():
        if not events and len(places) > 1:
            continue
        start = _event(0.0, 0, b"", version=_VERSION)
        data = b"".join(map(framed, [start, *events]))
        atomic.write_file(target / place / f"events.out.tfevents.0000000000.{run.run_id}", data)
    return target


def _place(key: SeriesKey) -> str:
    """The folder of a curve's writer below the run's; no name leads out of it."""
    parts = [quote(part, safe=" ") for part in key.run.split("/") if part not in ("", ".", "..")]
    return "/".join([*(part[:200] for part in parts), *(word.replace(" ", "-") for word in key.writer())])


def _scalars(series: Series) -> Iterator[bytes]:
    tag = bytes_field(1, series.key.name.encode("utf-8", "replace"))
    for step, value, time in zip(series.steps, series.values, series.times, strict=True):
        yield _event(time, step, tag + float_field(2, _float32(value)))


def _float32(value: float) -> float:
    return value if not abs(value) > _FLOAT_MAX else float("inf") if value > 0 else float("-inf")


def _entry(run: RunRecord, entry: Entry, step: int) -> Iterator[bytes]:
    tag = bytes_field(1, entry.name.encode("utf-8", "replace"))
    if entry.kind != "image":
        text = entry.value if isinstance(entry.value, str) else str(orjson.dumps(entry.value), "utf-8")
        yield _event(entry.time, step, tag + _text(text))
        return
    file = open_inside(run.folder, entry.value) if isinstance(entry.value, str) else None
    if file is None:
        return
    with file:
        content = file.read()
    if content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) > 24:
        width, height = struct.unpack(">II", content[16:24])  # the IHDR chunk is the first one
        image = varint_field(1, height) + varint_field(2, width) + varint_field(3, 4) + bytes_field(4, content)
        yield _event(entry.time, step, tag + bytes_field(4, image))


def _tables(run: RunRecord, found: RunMetrics) -> Iterator[tuple[str, bytes]]:
    """Parameters and tags of the run and of its children, each as a table in Markdown."""
    for child, notes in {"": found.notes_of(""), **found.notes}.items():
        rows = {**({} if child else {**run.parameters, **run.tags}), **notes.parameters, **notes.tags}
        if rows:
            lines = ("| name | value |", "|---|---|", *(f"| {_cell(key)} | {_cell(rows[key])} |" for key in rows))
            yield child, _event(0.0, 0, bytes_field(1, b"parameters") + _text("\n".join(lines)))


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _text(text: str) -> bytes:
    """The fields of a summary value that the text page shows: a string tensor, and whose it is (summary.proto)."""
    tensor = varint_field(1, 7) + bytes_field(2, b"") + bytes_field(8, text.encode("utf-8", "replace"))
    return bytes_field(8, tensor) + bytes_field(9, bytes_field(1, bytes_field(1, b"text")) + varint_field(4, 2))


def _event(time: float, step: int, value: bytes, version: bytes = b"") -> bytes:
    """One event (event.proto) with one value of a summary."""
    what = bytes_field(3, version) if version else bytes_field(5, bytes_field(1, value))
    return double_field(1, time) + varint_field(2, step) + what
