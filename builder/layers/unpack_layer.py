"""A layer's tar in, a folder tree out: the way back from `layer`, for layers that others have written too.

The tar may be plain, gzip or zstd (OCI image specification, layer.md); which one, its first bytes say. Everything in
it is taken for hostile: no path or link reaches out of the tree, nothing lies below a link, no device is made, and
reading stops at the size that was announced. Whiteouts become what overlayfs reads as such (the kernel's
documentation, filesystems/overlayfs.rst): a character device 0/0 for a path, `user.overlay.opaque` for a folder.
"""

import errno
import gzip
import hashlib
import os
import stat
import tarfile
import zlib
from pathlib import Path
from typing import Protocol

from envbuild.errors import LayerError

from .layer import MAX_DEPTH

OPAQUE = "user.overlay.opaque"
"""The attribute of a folder that hides what lower layers have in it."""

_WHITEOUT = ".wh."
_OPAQUE_MARK = ".wh..wh..opq"
_BUFFER = 1 << 16
"""Larger ones make tarfile slower: it copies the rest of its buffer at every header."""
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_MAX_HEADER = 1 << 20


class Readable(Protocol):
    """Bytes from a file, an archive or the network."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


def unpack_layer(source: Readable, tree: Path, diff_id: str, max_size: int) -> int:
    """Unpack the layer `source` into the empty folder `tree`; return the bytes of the uncompressed tar.

    `max_size` bounds these bytes. Owners, device files, extended attributes and set-user-id bits are left out.

    Raises:
        LayerError: it is damaged, is not the layer `diff_id` (`sha256:<hex>`), or holds something refused.
        OSError: the tree cannot be written.
    """
    stream = _Hashed(decompressed(source), max_size)
    unpacking = _Tree(tree)
    try:
        with tarfile.open(  # type: ignore[call-overload]
            fileobj=stream,
            mode="r|",
            bufsize=_BUFFER,
            encoding="utf-8",
            errors="surrogateescape",
            tarinfo=BoundedEntry,
        ) as archive:
            while (member := archive.next()) is not None:
                unpacking.place(archive, member)
                archive.members = []  # it would keep every one
        while stream.read(_BUFFER):  # what follows the end mark belongs to the digest
            pass
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, ValueError, OverflowError) as error:
        raise LayerError(f"the layer {diff_id} is damaged: {error or type(error).__name__}") from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise LayerError(f"the layer {diff_id} holds a path or link longer than any file system has; refused") from None
    if stream.digest != diff_id:
        raise LayerError(f"a layer is not what was promised: expected {diff_id}, it is {stream.digest}")
    unpacking.finish()
    return stream.size


def is_whiteout(status: os.stat_result) -> bool:
    """Whether a path of a tree hides one of a lower layer."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(folder: str) -> bool:
    """Whether a folder of a tree hides all that lower layers have in it."""
    try:
        return os.getxattr(folder, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


class BoundedEntry(tarfile.TarInfo):
    """An entry whose extended header is no larger than any path: tarfile reads it into memory whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "BoundedEntry":
        member = super().frombuf(buf, encoding, errors)
        if member.type in _HEADERS and member.size > _MAX_HEADER:
            raise LayerError(f"a layer holds an extended header of {member.size} bytes; refused")
        return member


class _Hashed:
    """Reads on, counting and hashing."""

    def __init__(self, source: Readable, max_size: int) -> None:
        self._source = source
        self._max_size = max_size
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self.size += len(data)
        if self.size > self._max_size:
            raise LayerError(f"a layer unpacks to more than the {self._max_size} bytes that were announced; refused")
        self._digest.update(data)
        return data


class _Rejoined:
    """`source` again, after its first bytes were looked at."""

    def __init__(self, first: bytes, source: Readable) -> None:
        self._first = first
        self._source = source

    def read(self, size: int = -1) -> bytes:
        if self._first:
            data, self._first = self._first[:size], self._first[size:]
            return data
        return self._source.read(size)


def decompressed(source: Readable) -> Readable:
    """The tar that the blob `source` is the bytes of, whichever of the three it is.

    Reading a damaged one raises zlib.error, gzip.BadGzipFile or EOFError.
    """
    first = source.read(4)
    whole = _Rejoined(first, source)
    if first[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=whole)  # type: ignore[call-overload,no-any-return]
    if first == b"\x28\xb5\x2f\xfd" or (first[1:] == b"\x2a\x4d\x18" and first[0] & 0xF0 == 0x50):  # RFC 8878, 3.1
        return _Zstd(whole)
    return whole


class _Zstd:
    """Decompresses every frame; the library's own error becomes one that readers expect."""

    def __init__(self, source: Readable) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)  # type: ignore[arg-type]

    def read(self, size: int) -> bytes:
        try:
            return self._reader.read(size)
        except self._error as error:
            raise EOFError(f"its zstd data: {error}") from None


class _Tree:
    """A tree being filled; it knows its folders, so that nothing is ever written through a link."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._folders: dict[str, int] = {"": 0o755}

    def place(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Make what `member` describes.

        Raises:
            LayerError: it would leave the tree, lies below something that is no folder, or is of a refused kind.
        """
        name = _inside(member.name)
        parent, _, base = name.rpartition("/")
        if member.isdir():
            self._make_folder(name)
            self._folders[name] = member.mode & 0o1777
            return
        self._make_folder(parent)
        if base.startswith(_WHITEOUT):
            self._place_whiteout(parent, base)
        elif member.issparse():
            raise LayerError(f"a layer holds the sparse file {name!r}; refused, because its size cannot be trusted")
        elif member.isreg():
            self._write(self._free(name), archive, member)
        elif member.issym():
            os.symlink(_checked(member.linkname), self._free(name))
        elif member.islnk():
            target = self._link_target(name, member.linkname)
            os.link(target, self._free(name), follow_symlinks=False)
        # devices and pipes stay out: whatever runs the image has a /dev of its own

    def finish(self) -> None:
        """Give every folder its mode, the deepest first: some cannot be entered afterwards."""
        for name in sorted(self._folders, reverse=True):
            os.chmod(self._path(name), self._folders[name])

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _make_folder(self, name: str) -> None:
        missing = []
        while name not in self._folders:
            missing.append(name)
            name = name.rpartition("/")[0]
        for each in reversed(missing):
            try:
                os.mkdir(self._path(each), 0o755)
            except FileExistsError:
                raise LayerError(f"a layer holds {each!r} as a folder and as something else; refused") from None
            self._folders[each] = 0o755

    def _free(self, name: str) -> str:
        """The path of `name`, which nothing has now: of two entries with one name the later counts."""
        if name in self._folders:
            raise LayerError(f"a layer holds {name!r} as a folder and as something else; refused")
        path = self._path(name)
        if os.path.lexists(path):
            os.unlink(path)
        return path

    def _link_target(self, name: str, link: str) -> str:
        target = _inside(link)
        path = self._path(target)
        if target.rpartition("/")[0] not in self._folders or target in self._folders or not os.path.lexists(path):
            raise LayerError(
                f"a layer holds {name!r}, a hard link to {link!r}, which is no file of that layer; refused"
            )
        return path

    def _write(self, path: str, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        content = archive.extractfile(member)
        if content is None:
            raise ValueError(f"{member.name!r} has no content")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb", 0) as file:
            left = member.size
            while left:
                data = content.read(min(left, 1 << 20))
                if not data:
                    raise EOFError(f"it ends inside {member.name!r}")
                file.write(data)
                left -= len(data)
            os.fchmod(file.fileno(), member.mode & 0o1777)
            os.utime(file.fileno(), (int(member.mtime), int(member.mtime)))

    def _place_whiteout(self, parent: str, base: str) -> None:
        if base == _OPAQUE_MARK:
            os.setxattr(self._path(parent), OPAQUE, b"y")
            return
        hidden = base[len(_WHITEOUT) :]
        if hidden.startswith(_WHITEOUT):  # aufs' own notes
            return
        if hidden in ("", ".", ".."):
            raise LayerError(f"a layer holds the whiteout {base!r}, which names no path; refused")
        path = self._free(f"{parent}/{hidden}" if parent else hidden)
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))


def _inside(name: str) -> str:
    """`name` relative to the tree, without `.` and empty parts; the tree itself is the empty text."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise LayerError(f"a layer holds the path {name!r}, which leaves the image; refused")
    if len(parts) > MAX_DEPTH:
        raise LayerError(
            f"a layer holds the path {name[:80]!r}..., which lies in more than {MAX_DEPTH} folders; refused"
        )
    return "/".join(parts)


def _checked(link: str) -> str:
    """A symbolic link's target: it may name anything, since only programs inside the image follow it."""
    if not link or "\0" in link:
        raise LayerError(f"a layer holds a link to {link!r}, which names nothing; refused")
    return link
