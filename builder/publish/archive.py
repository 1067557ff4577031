"""An image as one tar: `oci-archive` (the layout of `layout`, packed) or `docker-archive` (what `docker save` writes).

The bytes are a function of the image alone: entries in a fixed order, owner 0, time 0. Nothing is collected on the
way: a layer goes from its tree into the archive, or piece by piece to whoever asks for the stream.
"""

import queue
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from envbuild.errors import InputError

from .. import atomic
from ..image import Image
from ..report import Reporter
from ..store import Store
from .layout import Part, Write, docker_manifest, layout_parts, not_written, sweep_beside, write_content

_AHEAD = 8
"""Pieces of at most 1 MiB that wait to be sent."""


def docker_parts(image: Image, reference: str) -> list[Part]:
    """The files of a `docker-archive`: the layout without what only OCI wants."""
    named = {part.path: part for part in layout_parts(image, reference)}
    manifest = docker_manifest(image, reference)[0]
    return [named[path] for path in dict.fromkeys(["manifest.json", manifest["Config"], *manifest["Layers"]])]


def export_archive(parts: Sequence[Part], store: Store, file: Path, reporter: Reporter) -> Path:
    """Write `parts` as the tar `file`, which appears when it is whole.

    Raises:
        InputError: `file` is no file, or in a place where nothing can be made.
        ExportError: it cannot be written.
        StoreError: a layer is missing or was changed.
    """
    try:
        if not file.parent.is_dir():
            raise InputError(f"{file.parent} is not a folder; make it, or write the archive elsewhere")
        if file.exists() and not file.is_file():
            raise InputError(f"{file} is not a file; name one that can be replaced")
        sweep_beside(file)
        with (
            reporter.task("export", sum(part.size for part in parts)) as task,
            atomic.new_file(file) as target,
            target.open("wb") as output,
        ):

            def write(piece: bytes | memoryview) -> None:
                output.write(piece)
                task.advance(len(piece))

            _write_archive(parts, store, write)
    except OSError as error:
        raise not_written(file, error) from error
    return file


def stream_archive(parts: Sequence[Part], store: Store) -> Iterator[bytes]:
    """The same tar piece by piece, for a connection that takes it; little of it is ever in memory.

    Raises (while it is read):
        StoreError: a layer is missing or was changed.
    """
    pieces: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
    abandoned = threading.Event()

    def put(piece: bytes | BaseException | None) -> None:
        while not abandoned.is_set():
            try:
                return pieces.put(piece, timeout=0.1)
            except queue.Full:
                continue
        raise _Abandoned

    def produce() -> None:
        try:
            _write_archive(parts, store, lambda piece: put(bytes(piece)))
            put(None)
        except BaseException as error:
            with suppress(_Abandoned):
                put(error)

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        abandoned.set()
        producer.join()


class _Abandoned(Exception):
    """Nobody reads the stream any more."""


def _write_archive(parts: Sequence[Part], store: Store, write: Write) -> None:
    folders: set[str] = set()
    for part in parts:
        # a folder without an entry would be given to root by readers that unpack, which only root may do
        for parent in reversed(PurePosixPath(part.path).parents[:-1]):
            if str(parent) not in folders:
                folders.add(str(parent))
                folder = tarfile.TarInfo(f"{parent}/")
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                write(folder.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        entry = tarfile.TarInfo(part.path)
        entry.size = part.size
        write(entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        write_content(part, store, write)
        write(bytes(-part.size % tarfile.BLOCKSIZE))
    write(bytes(2 * tarfile.BLOCKSIZE))
