"""Files of a run's folder, opened so that nothing outside it can be.

A job writes into its folder, so every name and link below it is hostile. What is opened is answered from that very
descriptor: between the check and the reading no job can put another file in its place.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote_to_bytes

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from envbuild.errors import NotFound
from envbuild.trainer.run_files import open_inside

from .security import FILE_POLICY

MOST_LISTED = 2000
"""Files that one page lists."""

_IMAGES = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
"""What a browser draws. An SVG file drawn as an image runs no script; opened by itself it is in a sandbox."""


@dataclass(frozen=True)
class FileEntry:
    """A plain file below a folder."""

    path: str
    """Relative to the folder; bytes that are no UTF-8 as surrogates (PEP 383)."""
    size: int
    modified: float
    """Seconds since 1970."""

    @property
    def shown(self) -> str:
        """The path for people."""
        return os.fsencode(self.path).decode(errors="replace")

    @property
    def asked(self) -> str:
        """How a query names it (`asked_file`)."""
        return quote(quote(os.fsencode(self.path)))

    @property
    def is_image(self) -> bool:
        return image_type(self.path) is not None


def list_files(folder: Path) -> tuple[list[FileEntry], bool]:
    """Plain files below `folder`, by path; and whether there are more than are listed. Links are left out."""
    found: list[FileEntry] = []
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(folder / below) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            path = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{path}/")
            elif entry.is_file(follow_symlinks=False):
                if len(found) == MOST_LISTED:
                    return sorted(found, key=lambda file: file.path), True
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    found.append(FileEntry(path, status.st_size, status.st_mtime))
    return sorted(found, key=lambda file: file.path), False


def open_file(folder: Path, path: str) -> BinaryIO:
    """The plain file `path` below `folder`, for reading.

    Raises:
        NotFound: there is none, or a part of the path is a link or leads upward.
    """
    file = open_inside(folder, path)
    if file is None:
        shown = os.fsencode(path).decode(errors="replace")
        raise NotFound(f"{shown!r} is no file of {folder.name} (the studio follows no links)")
    return file


def file_response(folder: Path, path: str) -> FileResponse:
    """The file as an answer, by ranges: images to be drawn, anything else to be saved.

    Raises:
        NotFound: as `open_file`.
    """
    return _OpenFileResponse(open_file(folder, path), path)


def image_type(path: str) -> str | None:
    """The media type of an image that browsers draw, by its name's ending."""
    return _IMAGES.get(os.path.splitext(path)[1].lower())


def asked_file(request: Request) -> str:
    """The path in the query's `file`: quoted once more than a query is, as names of files need not be UTF-8."""
    return os.fsdecode(unquote_to_bytes(request.query_params.get("file", "")))


class _OpenFileResponse(FileResponse):
    """Answers from an open descriptor (as /proc/self/fd), so that the file cannot be changed for another meanwhile."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file = file
        image = image_type(path)
        super().__init__(
            f"/proc/self/fd/{file.fileno()}",
            media_type=image or "application/octet-stream",
            filename=os.fsencode(path.rpartition("/")[2]).decode(errors="replace"),
            stat_result=os.fstat(file.fileno()),
            content_disposition_type="inline" if image else "attachment",
            headers={"content-security-policy": FILE_POLICY},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, _exactly(send))
        finally:
            self._file.close()


def _exactly(send: Send) -> Send:
    """Sends as many bytes as the answer's head says: a log may have grown since its size was asked for."""
    left = 0

    async def send_rest(message: Message) -> None:
        nonlocal left
        if message["type"] == "http.response.start":
            left = int(Headers(raw=message["headers"])["content-length"])
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")[:left]
            left -= len(body)
            message = {**message, "body": body}
        await send(message)

    return send_rest
