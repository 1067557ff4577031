"""A folder tree in, the bytes of its layer out: format version 1.

The identity of a layer is the sha256 of its uncompressed tar (the diffID of the OCI image specification, config.md).
The tar is a pure function of the tree: USTAR headers, a PAX header only for what does not fit one, entries sorted by
the bytes of their paths, owner 0:0 without names. Headers are written by hand into one reused buffer: several times
faster than `tarfile`, and independent of its version.

    file        mode as on disk (& 01777), mtime as on disk, in whole seconds; every hard link is a file of its own
    directory   mode as on disk (& 01777), mtime 0, once
    symlink     mode 0777, mtime 0
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from envbuild.errors import StoreError

FORMAT_VERSION = 1
MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar"

MAX_DEPTH = 128
"""Folders in one path: what is deeper was made to end programs that walk a tree by recursion, ours and Python's own."""

_BUFFER = 1 << 20
_MAX_OCTAL_SIZE = 0o77777777777
_ZEROS = bytes(1024)
_USTAR = b"ustar\x0000" + bytes(64) + b"0000000\x000000000\x00"
"""Magic, version, empty owner names, device numbers 0."""

Write = Callable[[memoryview], object]


def tree_digest(tree: Path, prefix: str = "") -> tuple[str, int]:
    """The diffID (`sha256:<hex>`) and size in bytes of the layer that `tree` makes.

    Raises:
        StoreError: the tree holds something that no layer can (a socket, a device), or a file shrank while read.
    """
    digest = hashlib.sha256()
    size = write_layer(tree, digest.update, prefix)
    return f"sha256:{digest.hexdigest()}", size


def write_layer(tree: Path, write: Write, prefix: str = "") -> int:
    """Hand the layer's bytes to `write` piece by piece; return their number.

    `write` must be done with a piece when it returns: the buffer is used again.

    Raises:
        StoreError: as `tree_digest`.
    """
    stream = _Stream(write)
    for name, path, status in _entries(tree, prefix):
        if stat.S_ISREG(status.st_mode):
            mode = status.st_mode & 0o1777
            stream.put(_header(name, mode, status.st_size, int(status.st_mtime), b"0"))
            stream.put_file(path, status.st_size)
        elif stat.S_ISDIR(status.st_mode):
            stream.put(_header(name + b"/", status.st_mode & 0o1777, 0, 0, b"5"))
        elif stat.S_ISLNK(status.st_mode):
            stream.put(_header(name, 0o777, 0, 0, b"2", os.fsencode(os.readlink(path))))
        else:
            raise StoreError(f"{path} is neither a file, a folder nor a link; an image layer cannot hold it")
    stream.put(_ZEROS)
    return stream.finish()


def _entries(tree: Path, prefix: str) -> Iterator[tuple[bytes, str, os.stat_result]]:
    """Every entry below `tree` with its name in the layer, sorted by the bytes of that name."""
    found: list[tuple[bytes, str, os.stat_result]] = []
    folders = [(str(tree), prefix)]
    while folders:
        folder, name = folders.pop()
        with os.scandir(folder) as scan:
            for entry in scan:
                status = entry.stat(follow_symlinks=False)
                path = f"{name}{entry.name}"
                found.append((os.fsencode(path), entry.path, status))
                if stat.S_ISDIR(status.st_mode):
                    folders.append((entry.path, f"{path}/"))
    found.sort(key=lambda each: each[0])
    return iter(found)


class _Stream:
    """Collects headers and small files in one buffer, so that `write` sees few and large pieces."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._buffer = memoryview(bytearray(_BUFFER))
        self._used = 0
        self._total = 0

    def put(self, data: bytes) -> None:
        if self._used + len(data) > _BUFFER:
            self._flush()
        self._buffer[self._used : self._used + len(data)] = data
        self._used += len(data)

    def put_file(self, path: str, size: int) -> None:
        """The content of `path`, padded to a multiple of 512 bytes."""
        if not size:
            return
        if self._used + size > _BUFFER:
            self._flush()
        descriptor = os.open(path, os.O_RDONLY)
        try:
            left = size
            while left:
                room = self._buffer[self._used : self._used + min(left, _BUFFER - self._used)]
                count = os.readv(descriptor, (room,))
                if not count:
                    raise StoreError(f"{path} became shorter while it was read; remove its tree and build again")
                self._used += count
                left -= count
                if self._used == _BUFFER:
                    self._flush()
        finally:
            os.close(descriptor)
        self.put(_ZEROS[: -size % 512])

    def finish(self) -> int:
        self._flush()
        return self._total

    def _flush(self) -> None:
        if self._used:
            self._write(self._buffer[: self._used])
            self._total += self._used
            self._used = 0


def _header(name: bytes, mode: int, size: int, mtime: int, kind: bytes, link: bytes = b"") -> bytes:
    """One entry's header: USTAR (POSIX.1-1988), behind a PAX header (POSIX.1-2001) when something does not fit."""
    extended = []
    prefix = b""
    if len(name) > 100:
        prefix, short = _split(name)
        if not prefix:
            extended.append((b"path", name))
        name = short
    if len(link) > 100:
        extended.append((b"linkpath", link))
        link = link[:100]
    if size > _MAX_OCTAL_SIZE:
        extended.append((b"size", b"%d" % size))
        size = 0
    header = _block(name, mode, size, mtime, kind, link, prefix)
    if not extended:
        return header
    records = b"".join(_pax_record(key, value) for key, value in sorted(extended))
    before = _block(b"././@PaxHeader", 0o644, len(records), 0, b"x", b"", b"")
    return before + records + bytes(-len(records) % 512) + header


def _split(name: bytes) -> tuple[bytes, bytes]:
    """`name` as USTAR's prefix and name fields; an empty prefix when it fits no such pair."""
    slash = name.find(b"/", len(name) - 101)
    if 0 < slash <= 155 and slash < len(name) - 1:
        return name[:slash], name[slash + 1 :]
    return b"", name[:100]


def _block(name: bytes, mode: int, size: int, mtime: int, kind: bytes, link: bytes, prefix: bytes) -> bytes:
    before = b"%b%07o\x000000000\x000000000\x00%011o\x00%011o\x00" % (
        name.ljust(100, b"\0"),
        mode,
        size,
        min(max(mtime, 0), _MAX_OCTAL_SIZE),
    )
    after = b"%b%b%b%b%b" % (kind, link.ljust(100, b"\0"), _USTAR, prefix.ljust(155, b"\0"), bytes(12))
    checksum = sum(before) + sum(after) + 8 * 32
    return b"%b%06o\x00 %b" % (before, checksum, after)


def _pax_record(key: bytes, value: bytes) -> bytes:
    """`LENGTH key=value\\n`, where LENGTH counts its own digits."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + 1
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body
