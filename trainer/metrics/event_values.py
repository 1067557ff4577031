"""One value of an event in, what it holds out: a number, a text, a histogram or images.

The messages are those of tensorboard's summary.proto, histogram.proto, tensor.proto and plugin_data; only the fields
named here are looked at. PyTorch and TensorBoardX write histograms and images as messages of their own, TensorFlow 2 as
tensors whose plugin says what they are.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .protobuf import Value, fields, signed, varints

MOST_BARS = 5000
"""Bars of a histogram that are read; writers make fewer than a thousand."""

_TAG, _SIMPLE, _IMAGE, _HISTOGRAM, _TENSOR, _METADATA = 1, 2, 4, 5, 8, 9
_ENCODED = 4
_MIN, _MAX, _LIMITS, _COUNTS = 1, 2, 6, 7
_TYPE, _CONTENT, _STRINGS = 1, 4, 8
_STRING = 7
_NUMBERS = {1: ("f", 5), 2: ("d", 6), 3: ("i", 7), 9: ("q", 10), 19: ("e", 13)}
"""Data type of a tensor -> how its content is packed, and the field of numbers that are not packed as content."""


@dataclass(frozen=True)
class Histogram:
    """Bars as (left, right, count); all finite, none of negative width or count."""

    bars: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Images:
    """Pictures as they are encoded: PNG, JPEG, GIF."""

    encoded: tuple[bytes, ...]


Content = float | str | Histogram | Images | None


def summary_value(data: bytes) -> tuple[str, Content]:
    """The tag and what the value holds; `None` for audio and other tensors.

    Raises:
        ValueError, struct.error: the bytes are no such message.
    """
    parts = _parts(data)
    tag = _last_bytes(parts, _TAG).decode("utf-8", "replace")
    if _HISTOGRAM in parts:
        return tag, _histogram(_last_bytes(parts, _HISTOGRAM))
    if _IMAGE in parts:
        return tag, Images((_last_bytes(_parts(_last_bytes(parts, _IMAGE)), _ENCODED),))
    if _TENSOR in parts:
        return tag, _tensor(_last_bytes(parts, _TENSOR), _plugin(_last_bytes(parts, _METADATA)))
    if _SIMPLE in parts:
        return tag, float(struct.unpack("<f", _last_bytes(parts, _SIMPLE))[0])
    return tag, None


def _histogram(data: bytes) -> Histogram | None:
    """histogram.proto: the right edge of each bar, the outermost ones cut by the lowest and highest value."""
    parts = _parts(data)
    limits, counts = _doubles(parts, _LIMITS), _doubles(parts, _COUNTS)
    if not limits or len(limits) != len(counts):
        return None
    low, high = (struct.unpack("<d", _last_bytes(parts, field) or bytes(8))[0] for field in (_MIN, _MAX))
    rights = [*limits[:-1], min(limits[-1], high)]
    lefts = [max(low, -math.inf), *limits[:-1]]
    return _bars(zip(lefts, rights, counts, strict=True))


def _bars(bars: Iterator[tuple[float, float, float]]) -> Histogram:
    return Histogram(
        tuple(
            (left, right, count)
            for left, right, count in bars
            if all(map(math.isfinite, (left, right, count))) and left <= right and count > 0
        )
    )


def _tensor(data: bytes, plugin: str) -> Content:
    parts = _parts(data)
    kind = parts.get(_TYPE, [0])[-1]
    if kind == _STRING:
        texts = [value for value in parts.get(_STRINGS, []) if isinstance(value, bytes)]
        if plugin == "images":  # width, height, and then the pictures
            return Images(tuple(texts[2:])) if len(texts) > 2 else None
        return texts[0].decode("utf-8", "replace") if len(texts) == 1 else None
    if not isinstance(kind, int) or kind not in _NUMBERS:
        return None
    if plugin == "histograms":
        numbers = _elements(parts, kind, 3 * MOST_BARS)
        rows = zip(numbers[0::3], numbers[1::3], numbers[2::3], strict=False)
        return _bars(rows) if numbers and len(numbers) % 3 == 0 else None
    numbers = _elements(parts, kind, 1)
    return numbers[0] if len(numbers) == 1 else None


def _elements(parts: dict[int, list[Value]], kind: int, most: int) -> list[float]:
    """The numbers of a tensor; none when there are more than `most`: they are not even unpacked."""
    letter, field = _NUMBERS[kind]
    content = b"".join(value for value in parts.get(_CONTENT, []) if isinstance(value, bytes))
    if content:
        if len(content) > most * struct.calcsize(letter):
            return []
        return [float(number) for (number,) in struct.iter_unpack(f"<{letter}", content)]
    values = parts.get(field, [])
    if sum(len(value) if isinstance(value, bytes) else 1 for value in values) > most * 10:  # a varint has ten bytes
        return []
    numbers = [float(number) for value in values for number in _unpacked(letter, value)]
    return numbers if len(numbers) <= most else []


def _unpacked(letter: str, value: Value) -> Iterator[float]:
    """The numbers of a field that may be packed, or be there once for each."""
    if letter in "fd":
        if isinstance(value, bytes):
            yield from struct.unpack(f"<{len(value) // struct.calcsize(letter)}{letter}", value)
        return
    whole = varints(value) if isinstance(value, bytes) else [value]
    if letter == "e":  # half precision, each in the low bits of a varint
        yield from (struct.unpack("<e", struct.pack("<H", each & 0xFFFF))[0] for each in whole)
    else:
        yield from map(signed, whole)


def _doubles(parts: dict[int, list[Value]], field: int) -> list[float]:
    """A repeated double; none when there are more than a histogram has."""
    content = b"".join(value for value in parts.get(field, []) if isinstance(value, bytes))
    if len(content) > 8 * MOST_BARS:
        return []
    return [number for (number,) in struct.iter_unpack("<d", content)]


def _plugin(metadata: bytes) -> str:
    """SummaryMetadata.plugin_data.plugin_name"""
    return _last_bytes(_parts(_last_bytes(_parts(metadata), 1)), 1).decode("utf-8", "replace")


def _parts(data: bytes) -> dict[int, list[Value]]:
    parts: dict[int, list[Value]] = {}
    for number, value in fields(data):
        parts.setdefault(number, []).append(value)
    return parts


def _last_bytes(parts: dict[int, list[Value]], field: int) -> bytes:
    """The field's last value, as protobuf has it for a field that is there more than once; empty when there is none."""
    value = parts.get(field, [b""])[-1]
    if not isinstance(value, bytes):
        raise ValueError(f"field {field} is a number")
    return value
