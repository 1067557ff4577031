"""A folder or tar that claims to be an OCI image layout, read with care: archives come from anywhere.

Nothing is unpacked on the way: blobs are opened where they lie. No link is followed, only files with a name that a
layout has are seen, and whatever is read is compared with the digest that it was asked for by.
"""

import errno
import hashlib
import json
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from envbuild.errors import InputError, LayerError

from ..layers.unpack_layer import BoundedEntry, Readable

MAX_DOCUMENT = 64 << 20
"""Bytes of an index, manifest, config or file of an environment; all are far smaller."""
_MAX_ENTRIES = 100_000
_NAME = re.compile(r"oci-layout|index\.json|manifest\.json|repositories|blobs(/sha256)?|blobs/sha256/[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"\x28\xb5\x2f\xfd": "unzstd",
    b"\xfd7zXZ": "unxz",
    b"BZh": "bunzip2",
    b"PK\x03\x04": "unzip",
}
"""First bytes of a file -> what undoes it."""


class _Files(Protocol):
    """Opens the files of a layout by name."""

    def open(self, name: str) -> tuple[BinaryIO, int]:
        """The file, at its beginning, and its size in bytes.

        Raises:
            KeyError: there is none.
        """

    def has(self, name: str) -> bool:
        """Whether there is such a file."""


class Layout:
    """An image layout to read from."""

    def __init__(self, path: Path) -> None:
        """Look at `path`, a folder or a tar.

        Raises:
            InputError: it is neither, is no image layout, or holds what no layout does.
        """
        self.path = path
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except OSError as error:
            reason = "is not there" if error.errno == errno.ENOENT else f"cannot be read: {error.strerror}"
            raise InputError(f"{path} {reason}; name an archive or a folder that envbuild export wrote") from None
        self._files: _Files = _Folder(path) if is_folder else _Archive(path)
        if self._document("oci-layout").get("imageLayoutVersion") != "1.0.0":
            raise self._no_layout("its oci-layout names another version than 1.0.0")
        self.index: dict[str, Any] = self._document("index.json")
        if not isinstance(self.index.get("manifests"), list):
            raise self._no_layout("its index.json lists no manifests")

    def blob(self, digest: str) -> bytes:
        """The whole blob `digest`, for documents.

        Raises:
            LayerError: it is missing, too large, or not what its digest says.
        """
        with self.open(digest) as source:
            return source.read(MAX_DOCUMENT + 1)

    @contextmanager
    def open(self, digest: str) -> Iterator[Readable]:
        """The blob `digest`, compared with its digest when the block ends.

        Raises:
            LayerError: it is missing, or not what its digest says.
        """
        if not _DIGEST.fullmatch(digest):
            raise LayerError(f"{self.path} names the blob {digest!r}, which is no sha256 digest")
        try:
            file, size = self._files.open(f"blobs/sha256/{digest.removeprefix('sha256:')}")
        except KeyError:
            raise LayerError(f"{self.path} lacks the blob {digest}; copy it again from where it came") from None
        with file:
            source = _Verified(file, size)
            try:
                yield source
            except LayerError:
                source.check(digest, self.path)  # where the blob is damaged, that is the reason
                raise
            source.check(digest, self.path)

    def _document(self, name: str) -> dict[str, Any]:
        try:
            file, size = self._files.open(name)
        except KeyError:
            other = name == "oci-layout" and self._files.has("manifest.json")
            more = ", as a docker-archive, which holds an image and no environment" if other else ""
            raise self._no_layout(f"it has no {name}{more}") from None
        with file:
            if size > MAX_DOCUMENT:
                raise self._no_layout(f"its {name} has {size} bytes")
            try:
                document = json.loads(file.read(size))
            except (ValueError, RecursionError):
                document = None
        if not isinstance(document, dict):
            raise self._no_layout(f"its {name} is no JSON object")
        return document

    def _no_layout(self, reason: str) -> InputError:
        return InputError(
            f"{self.path} is no OCI image layout: {reason}; envbuild export NAME oci-archive:FILE (or oci:DIR) "
            "writes one"
        )


class _Verified:
    """Reads one blob and no further, hashing."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size if size >= 0 else self._left, self._left))
        self._left -= len(data)
        self._digest.update(data)
        return data

    def check(self, digest: str, path: Path) -> None:
        while self.read(1 << 20):
            pass
        found = f"sha256:{self._digest.hexdigest()}"
        if found != digest:
            raise LayerError(f"{path} is damaged: the blob {digest} is {found}; copy it again from where it came")


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, name: str) -> tuple[BinaryIO, int]:
        try:
            # a pipe would block, a link could name any file
            descriptor = os.open(self._path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise KeyError(name) from error
        except OSError as error:
            reason = "it is a link, which is refused" if error.errno == errno.ELOOP else error.strerror
            raise InputError(f"{self._path / name} cannot be read: {reason}") from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise InputError(f"{self._path / name} is no file; refused")
        return open(descriptor, "rb"), status.st_size

    def has(self, name: str) -> bool:
        return (self._path / name).exists()


class _Archive:
    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"{path} is neither a file nor a folder; name an archive that envbuild export wrote")
        self._path = path
        self._places: dict[str, tuple[int, int]] = {}
        begun = False
        try:
            with tarfile.open(path, "r:", tarinfo=BoundedEntry) as archive:
                begun = True
                for entry in archive:
                    self._note(entry)
        except (tarfile.TarError, EOFError, ValueError) as error:
            if begun:
                raise InputError(
                    f"{path} is damaged, or only a part of an archive ({error}); copy it again from where it came"
                ) from None
            raise InputError(f"{path} is no tar archive ({error}){_cure(path)}") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from None

    def open(self, name: str) -> tuple[BinaryIO, int]:
        offset, size = self._places[name]
        file = self._path.open("rb")
        file.seek(offset)
        return file, size

    def has(self, name: str) -> bool:
        return name in self._places

    def _note(self, entry: tarfile.TarInfo) -> None:
        name = entry.name.removeprefix("./").rstrip("/")
        if name and not _NAME.fullmatch(name):
            raise InputError(f"{self._path} holds {entry.name!r}, which no image layout has; refused")
        if entry.isdir():
            return
        if not entry.isreg() or entry.issparse():
            raise InputError(f"{self._path} holds {entry.name!r}, which is no plain file; refused")
        if name in self._places or len(self._places) == _MAX_ENTRIES:
            raise InputError(f"{self._path} holds {entry.name!r} twice, or too many files; refused")
        self._places[name] = (entry.offset_data, entry.size)


def _cure(path: Path) -> str:
    with path.open("rb") as file:
        first = file.read(8)
    program = next((program for magic, program in _COMPRESSED.items() if first.startswith(magic)), None)
    return f": it is compressed, run {program} on it first" if program else "; name one that envbuild export wrote"
