"""Windows into a log: any part of a file of any size, as whole lines for people.

A window is read by its bytes (start, end) and grown or cut to whole lines; a log of 100 MB opens by its last window as
quickly as one of 1 kB. What a terminal would do is done to the text: colours go, and of a line that a progress bar
wrote over (carriage returns) its last state stays.
"""

import os
import re
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

WINDOW = 128 * 1024
"""Bytes of one window."""

_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Window:
    """Part of a log."""

    start: int
    """Bytes from the beginning of the file."""
    end: int
    """Where the next window begins."""
    size: int
    """Bytes of the whole file at that moment."""
    text: str
    """Whole lines."""
    partial: str
    """The line that is being written, after `end`: shown, and read again with the next window."""

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Part:
    """The bytes of a log that are looked at, from the beginning of a line on."""

    begin: int = 0
    end: int | None = None
    """`None`: all that comes."""


WHOLE = Part()


def window_at_end(file: BinaryIO, part: Part = WHOLE) -> Window:
    """The last lines."""
    size = _size(file, part)
    return _window(file, max(part.begin, size - WINDOW), size, size, part)


def window_before(file: BinaryIO, end: int, part: Part = WHOLE) -> Window:
    """The lines before byte `end`, which begins a line."""
    size = _size(file, part)
    end = max(part.begin, min(end, size))
    return _window(file, max(part.begin, end - WINDOW), end, size, part)


def window_after(file: BinaryIO, start: int, part: Part = WHOLE) -> Window:
    """The lines from byte `start` on, which begins a line."""
    size = _size(file, part)
    start = max(part.begin, min(start, size))
    longest = WINDOW if part.end is None else max(0, min(WINDOW, part.end - start))
    data = os.pread(file.fileno(), longest, start)
    return _whole_lines(data, start, max(size, start + len(data)))


def plain_text(data: bytes) -> str:
    """What a terminal would show in the end, without colours."""
    text = _ESCAPES.sub("", data.decode(errors="replace")).replace("\r\n", "\n")
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _window(file: BinaryIO, start: int, end: int, size: int, part: Part) -> Window:
    data = os.pread(file.fileno(), max(0, end - start), start)
    if start > part.begin:
        begin = data.find(b"\n") + 1  # 0 when one line is longer than a window: then it is cut
        start, data = start + begin, data[begin:]
    return _whole_lines(data, start, size)


def _whole_lines(data: bytes, start: int, size: int) -> Window:
    whole = data.rfind(b"\n") + 1
    if whole == 0 and len(data) >= WINDOW:
        whole = len(data)
    return Window(start, start + whole, size, plain_text(data[:whole]), plain_text(data[whole:]))


def _size(file: BinaryIO, part: Part) -> int:
    """Where the part ends now."""
    size = os.fstat(file.fileno()).st_size
    return size if part.end is None else min(size, part.end)
