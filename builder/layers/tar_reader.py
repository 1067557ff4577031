"""A tar stream in, its members out, one after the other: several times faster than `tarfile`, in bounded memory.

Reads what packagers write: USTAR and PAX (POSIX.1-2001, pax), and GNU's long names. Nothing is believed: checksums
must match, an extended header has a limit, a stream that stops early is an error, sparse files are refused. What a
path or link may be is the caller's to judge.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

REGULAR, HARD_LINK, SYMBOLIC_LINK, FOLDER = b"0", b"1", b"2", b"5"

_BLOCK = 512
_BUFFER = 1 << 20
"""Bytes; large pieces let the kernel take large pages for the file that is written. Also the limit of a header."""
_END = bytes(_BLOCK)
_KINDS = {b"\0": REGULAR, b"7": REGULAR}
"""Older and stranger ways to say "a file"."""
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_WITHOUT_CONTENT = (HARD_LINK, SYMBOLIC_LINK, FOLDER)


class TarError(Exception):
    """The stream is damaged or holds what is refused."""


class Source(Protocol):
    """Decompressed bytes."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill at least a part of `buffer` and return how much; 0 at the end."""


class Member(NamedTuple):
    """One entry."""

    name: str
    kind: bytes
    """`REGULAR`, `HARD_LINK`, `SYMBOLIC_LINK`, `FOLDER`, or another of the type flags."""
    mode: int
    size: int
    """Bytes of content."""
    mtime: int
    """Whole seconds since 1970."""
    link: str
    """What a link points to."""


class TarReader:
    """Iterates over the members of `source`; `content` is what the last one holds."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer = memoryview(bytearray(_BUFFER))
        self._start = 0
        self._end = 0
        self._left = 0
        """Bytes of the member's content that were not read yet."""
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        extended: dict[str, str] = {}
        while True:
            self._skip(self._left + self._padding)
            header = bytes(self._take(_BLOCK))
            if header == _END:
                return
            member = _parse(header)
            self._left = 0 if member.kind in _WITHOUT_CONTENT else member.size
            if member.kind == _PAX:
                extended |= _pax_records(self._whole())
            elif member.kind == _LONG_NAME:
                extended["path"] = _text(self._whole())
            elif member.kind == _LONG_LINK:
                extended["linkpath"] = _text(self._whole())
            elif member.kind != _PAX_GLOBAL:
                if extended:
                    member = _extend(member, extended)
                    self._left = 0 if member.kind in _WITHOUT_CONTENT else member.size
                    extended = {}
                self._padding = -self._left % _BLOCK
                yield member
                continue
            self._padding = -member.size % _BLOCK

    def content(self) -> Iterator[memoryview]:
        """The current member's content in pieces; each is valid until the next is asked for."""
        while self._left:
            if self._start == self._end:
                self._refill()
            piece = self._buffer[self._start : min(self._end, self._start + self._left)]
            self._start += len(piece)
            self._left -= len(piece)
            yield piece

    def read(self) -> bytes:
        """All of the current member's content."""
        data = bytearray()
        for piece in self.content():
            data += piece
        return bytes(data)

    def _whole(self) -> bytes:
        """The content of an extended header."""
        if self._left > _BUFFER:
            raise TarError(f"an extended header of {self._left} bytes")
        data = bytes(self._take(self._left))
        self._left = 0
        return data

    def _take(self, count: int) -> memoryview:
        """Exactly `count` bytes, no more than the buffer holds."""
        have = self._end - self._start
        if have < count:
            self._buffer[:have] = bytes(self._buffer[self._start : self._end])
            self._start, self._end = 0, have
            while self._end < count:
                got = self._source.readinto(self._buffer[self._end :])
                if not got:
                    raise TarError("it ends too early")
                self._end += got
        piece = self._buffer[self._start : self._start + count]
        self._start += count
        return piece

    def _skip(self, count: int) -> None:
        while count > self._end - self._start:
            count -= self._end - self._start
            self._refill()
        self._start += count
        self._left = self._padding = 0

    def _refill(self) -> None:
        self._start, self._end = 0, self._source.readinto(self._buffer) or 0
        if not self._end:
            raise TarError("it ends too early")


def _parse(header: bytes) -> Member:
    checksum = _number(header[148:156])
    if sum(header) - sum(header[148:156]) + 8 * 0x20 != checksum:
        raise TarError("a header does not match its checksum")
    name = _text(header[:100])
    if header[257:263] == b"ustar\0" and header[345]:
        name = f"{_text(header[345:500])}/{name}"
    kind = _KINDS.get(header[156:157], header[156:157])
    if header[156] == 0 and name.endswith("/"):
        kind = FOLDER  # before USTAR, folders had no kind of their own
    return Member(
        name,
        kind,
        _number(header[100:108]),
        _number(header[124:136]),
        _number(header[136:148]),
        _text(header[157:257]),
    )


def _number(field: bytes) -> int:
    """An octal number, or GNU's binary one for what octal digits cannot hold."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.partition(b"\0")[0].strip()
    if digits.strip(b"01234567"):
        raise TarError("a header holds something else than a number")
    return int(digits or b"0", 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _pax_records(data: bytes) -> dict[str, str]:
    """`LENGTH key=value\\n`, where LENGTH counts all of the record."""
    records = {}
    while data:
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or not len(length) < int(length) <= len(data):
            raise TarError("an extended header is malformed")
        key, separator, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        if not separator or data[int(length) - 1 : int(length)] != b"\n":
            raise TarError("an extended header is malformed")
        records[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        data = data[int(length) :]
    return records


def _extend(member: Member, extended: dict[str, str]) -> Member:
    if any(key.startswith("GNU.sparse") for key in extended):
        raise TarError(f"{member.name} is a sparse file")
    try:
        size = int(extended.get("size", member.size))
        mtime = int(float(extended.get("mtime", member.mtime)))
    except (ValueError, OverflowError):
        raise TarError("an extended header holds something else than a number") from None
    if size < 0:
        raise TarError("an extended header holds a negative size")
    name = extended.get("path", member.name)
    return member._replace(name=name, size=size, mtime=mtime, link=extended.get("linkpath", member.link))
