"""Reads TensorBoard's event files, as PyTorch, TensorBoardX, Keras and TensorFlow write them.

They are looked for below `outputs/` and `tensorboard/` (what the job wrote into ./runs). Each folder there is what
TensorBoard calls a run: its curves are told apart by that folder's path. Numbers and texts are read at once; histograms
and pictures, of which a training writes gigabytes, are only noted with their place, and read when somebody looks.
"""

import struct
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from envbuild.errors import NotFound

from ..run_files import files_inside, open_inside
from . import Entry, Problem, RunMetrics, SeriesKey, Stored, moment
from .event_values import Histogram, Images, summary_value
from .protobuf import fields, signed
from .tfrecord import DamagedError, Record, UnfinishedError, read_records

FOLDERS = ("outputs", "tensorboard")

_TIME, _STEP, _SUMMARY = 1, 2, 5


def read_event_files(folder: Path, found: RunMetrics, only: Collection[str] | None = None) -> None:
    """Add what the event files below `folder` hold beyond `found.cursor`, and move the cursor."""
    for name in _event_files(folder):
        _read(folder, name, found, only)


def read_stored(folder: Path, stored: Stored) -> Histogram | Images:
    """The histogram, or the pictures, at the place `stored` of the run in `folder`.

    Raises:
        NotFound: there is nothing of the kind, the file has changed since.
    """
    file = open_inside(folder, stored.file) if stored.file in _event_files(folder) else None
    if file is not None:
        with file:
            try:
                file.seek(stored.position)
                record = next(read_records(file), None)
                found = record is not None and record.begin == stored.position
                value = next(islice(_event(record.data)[2], stored.value, None), b"") if record and found else b""
                _, content = summary_value(value)
            except (ValueError, struct.error, OSError, OverflowError):
                content = None
            if isinstance(content, Histogram | Images):
                return content
    raise NotFound(f"{stored.file} holds no histogram or picture at byte {stored.position}")


def _event_files(folder: Path) -> Iterator[str]:
    for root in FOLDERS:
        yield from (name for name in files_inside(folder, root) if "tfevents" in name.rpartition("/")[2])


def _read(folder: Path, name: str, found: RunMetrics, only: Collection[str] | None) -> None:
    file = open_inside(folder, name)
    if file is None:
        return
    with file:
        file.seek(max(0, found.cursor.get(name, 0)))
        try:
            for record in read_records(file, lambda text: found.note(Problem(name, text))):
                found.cursor[name] = record.end
                try:
                    _add_event(record, name, found, only)
                except (ValueError, struct.error):
                    found.note(Problem(name, f"the record at byte {record.begin} is no event; it is left out"))
        except DamagedError as error:
            found.note(Problem(name, str(error), unfinished=isinstance(error, UnfinishedError)))


def _add_event(record: Record, file: str, found: RunMetrics, only: Collection[str] | None) -> None:
    run = file.partition("/")[2].rpartition("/")[0]
    time, step, values = _event(record.data)
    for position, value in enumerate(values):
        name, content = summary_value(value)
        if only is not None and name not in only:
            continue
        if isinstance(content, float):
            found.series_of(SeriesKey(name, run, source="tensorboard")).append([step], [content], [time])
        elif only is not None:
            continue
        elif isinstance(content, str):
            found.entries.append(Entry(name, "text", content, time, step, run))
        elif isinstance(content, Histogram | Images):
            kind: Literal["histogram", "image"] = "histogram" if isinstance(content, Histogram) else "image"
            found.stored.append(Stored(name, kind, time, step, run, file, record.begin, position))


def _event(data: bytes) -> tuple[float, int, Iterator[bytes]]:
    """An event's time, step and the values of its summary."""
    time, step, summary = 0.0, 0, b""
    for number, value in fields(data):
        if number == _TIME and isinstance(value, bytes):
            time = moment(*struct.unpack("<d", value))
        elif number == _STEP and isinstance(value, int):
            step = signed(value)
        elif number == _SUMMARY and isinstance(value, bytes):
            summary = value
    return time, step, (value for number, value in fields(summary) if number == 1 and isinstance(value, bytes))
