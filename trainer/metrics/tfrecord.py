"""TFRecord framing, in which TensorBoard's event files are written: length, its checksum, bytes, their checksum.

https://www.tensorflow.org/tutorials/load_data/tfrecord: the checksums are CRC-32C, rotated and shifted.
"""

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

import google_crc32c

LONGEST = 1 << 26
"""Bytes of a record that are read: the length in a file is anybody's, and a file with holes holds any length."""

_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")


class Record(NamedTuple):
    """One record, and where it lies in its file."""

    data: bytes
    begin: int
    end: int


class DamagedError(ValueError):
    """Behind this place nothing can be read."""


class UnfinishedError(DamagedError):
    """The file ends in the middle of a record: it is still being written, or was cut."""


def read_records(file: BinaryIO, passed_over: Callable[[str], None] = lambda _: None) -> Iterator[Record]:
    """The records from where `file` stands.

    A record whose bytes are damaged, or that is longer than `LONGEST`, is passed over, and `passed_over` gets a
    sentence about it.

    Raises:
        UnfinishedError: the last record is not whole.
        DamagedError: the length itself is damaged: nothing says where the next record begins.
    """
    begin = file.tell()
    size = file.seek(0, 2)
    while begin < size:
        file.seek(begin)
        head = file.read(_HEAD.size)
        if len(head) != _HEAD.size:
            raise UnfinishedError(f"the record at byte {begin} is not whole")
        length, checksum = _HEAD.unpack(head)
        if masked_crc(head[:8]) != checksum:
            raise DamagedError(f"the length of the record at byte {begin} is damaged; nothing behind it can be read")
        end = begin + _HEAD.size + length + _TAIL.size
        if end > size:
            raise UnfinishedError(
                f"the record at byte {begin} should have {length} bytes, and the file ends {size - begin} bytes later"
            )
        if length > LONGEST:
            passed_over(f"the record at byte {begin} has {length} bytes, more than the {LONGEST} that are read")
        else:
            data = file.read(length)
            if masked_crc(data) == int.from_bytes(file.read(_TAIL.size), "little"):
                yield Record(data, begin, end)
            else:
                passed_over(f"the bytes of the record at byte {begin} are damaged; it is left out")
        begin = end


def framed(data: bytes) -> bytes:
    """`data` as one record."""
    length = struct.pack("<Q", len(data))
    return length + _TAIL.pack(masked_crc(length)) + data + _TAIL.pack(masked_crc(data))


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated right by 15 bits, plus a constant."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
