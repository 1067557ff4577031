"""Protocol Buffers' wire format, as far as event files need it: fields out of bytes, and bytes out of fields.

https://protobuf.dev/programming-guides/encoding: a message is a row of (field number, wire type, value).
"""

import struct
from collections.abc import Iterator

Value = int | bytes
"""A varint as a number; 64 and 32 bit fields and anything with a length as bytes."""

MOST_FIELDS = 200_000
"""Fields of one message that are read. A hostile one of 64 MB has thirty million, a hundred times larger as objects."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Every field of `message` in order: its number and its value.

    Raises:
        ValueError: the bytes are no message, or hold more than `MOST_FIELDS`.
    """
    position = count = 0
    while position < len(message):
        count += 1
        if count > MOST_FIELDS:
            raise ValueError(f"a message has more than {MOST_FIELDS} fields")
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == _LENGTH:
            size, position = _varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} is not known")
        if position + size > len(message):
            raise ValueError("a field is longer than its message")
        yield number, message[position : position + size]
        position += size


def varints(packed: bytes) -> list[int]:
    """The numbers of a packed field."""
    found, position = [], 0
    while position < len(packed):
        value, position = _varint(packed, position)
        found.append(value)
    return found


def varint_field(number: int, value: int) -> bytes:
    """A field that holds a whole number; a negative one takes ten bytes, as the format says."""
    return _encoded(number << 3 | _VARINT) + _encoded(value & (1 << 64) - 1)


def double_field(number: int, value: float) -> bytes:
    """A field that holds a double."""
    return _encoded(number << 3 | _FIXED64) + struct.pack("<d", value)


def float_field(number: int, value: float) -> bytes:
    """A field that holds a float."""
    return _encoded(number << 3 | _FIXED32) + struct.pack("<f", value)


def bytes_field(number: int, value: bytes) -> bytes:
    """A field that holds bytes, a text in UTF-8 or a message."""
    return _encoded(number << 3 | _LENGTH) + _encoded(len(value)) + value


def signed(value: int) -> int:
    """A varint read as the int64 that it stands for."""
    return value - (1 << 64) if value >> 63 else value


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, position
        shift += 7
    raise ValueError("a varint does not end")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
