"""A blob of the store into a repository: not at all when it is there, else in chunks that go on where a cut
connection (or an earlier process) has left them.

    HEAD -> POST -> PATCH, PATCH, ... (GET: how much is there?) -> PUT ?digest

OCI distribution specification 1.1, "Pushing blobs".
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from envbuild.errors import RegistryError, StoreError

from ..file_digest import sha256_of
from ..image import Blob
from .connection import Stopped
from .memory import Memory
from .repository import Repository, with_query

CHUNK = 64 << 20
"""Bytes of one request: proxies before registries often refuse more than 100 MB."""

_TRIES = 5
_PIECE = 1 << 18


def upload_blob(
    repository: Repository, blob: Blob, file: Path, memory: Memory, advance: Callable[[int], None], chunk: int = CHUNK
) -> int:
    """Bring `blob`, whose bytes are in `file`, into `repository`; return how many bytes of it were sent.

    What had to be sent twice counts twice; a blob that is there counts nothing.

    Raises:
        RegistryError: the registry fails or refuses it; what has arrived stays for the next try.
        StoreError: `file` is no longer what its name says; it is then removed.
    """
    upload = _Upload(repository, blob, file, memory, advance, chunk)
    with memory.one_upload(repository.name, blob.digest, repository.connection.wait):
        if not repository.has_blob(blob.digest):
            upload.send_all()
        memory.forget_upload(repository.name, blob.digest)
    return upload.sent


class _Upload:
    """One upload session: where it is, and how far."""

    def __init__(
        self, repository: Repository, blob: Blob, file: Path, memory: Memory, advance: Callable[[int], None], chunk: int
    ) -> None:
        self._repository = repository
        self._blob = blob
        self._file = file
        self._memory = memory
        self._advance = advance
        self._chunk = chunk
        self._location = ""
        self._offset = 0
        self.sent = 0
        self._what = f"the blob {blob.digest[:19]} of {repository.place}"

    def send_all(self) -> None:
        """Go on with an upload begun before, or begin one; in as many tries as it takes."""
        known = self._memory.upload(self._repository.name, self._blob.digest)
        if not known or not self._ask(known):
            self._begin()
        connection = self._repository.connection
        for attempt in range(1, _TRIES + 1):
            try:
                while self._blob.size - self._offset > self._chunk:
                    self._send(self._chunk, last=False)
                self._send(self._blob.size - self._offset, last=True)
                return
            except RegistryError as error:
                passing = error.status is None or error.status in (404, 416, 429) or error.status >= 500
                if error.status == 400:
                    self._check_file()
                    passing = True  # it arrived damaged
                if attempt == _TRIES or not passing:
                    raise
                connection.wait(0.2 * 2**attempt)
                if error.status == 400 or not self._ask(self._location):
                    self._begin()

    def _begin(self) -> None:
        connection = self._repository.connection
        place = f"{self._repository.name}/blobs/uploads/"
        answer = connection.send("POST", place, self._what, scopes=self._repository.scopes, ok=(202,))
        self._go_on(connection.location(answer), 0)
        smallest = answer.headers.get("OCI-Chunk-Min-Length", "")
        if smallest.isdecimal():
            self._chunk = max(self._chunk, int(smallest))

    def _ask(self, location: str) -> bool:
        """Ask the registry how much it has; false when it knows nothing of this upload any more."""
        connection = self._repository.connection
        try:
            answer = connection.send("GET", location, self._what, scopes=self._repository.scopes, ok=(204,))
        except RegistryError as error:
            if error.status is None:
                raise
            return False
        match = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("Range", ""))
        # `0-0` says both "nothing" and "one byte": taken as nothing, a wrong guess is refused and begun anew
        offset = int(match.group(1)) + 1 if match and match.group(1) != "0" else 0
        if offset > self._blob.size:
            return False
        self._go_on(connection.location(answer) if answer.headers.get("Location") else location, offset)
        return True

    def _send(self, length: int, *, last: bool) -> None:
        """PATCH one chunk; or PUT the last one, which ends the upload."""
        start, connection = self._offset, self._repository.connection
        headers = {"Content-Type": "application/octet-stream"}
        if length and (start or not last):
            headers["Content-Range"] = f"{start}-{start + length - 1}"

        def body() -> IO[bytes]:
            return cast("IO[bytes]", _Slice(self._file, start, length, self._moved))

        place = with_query(self._location, digest=self._blob.digest) if last else self._location
        answer = connection.send(
            "PUT" if last else "PATCH", place, self._what, scopes=self._repository.scopes,
            ok=(201, 204) if last else (202, 204), headers=headers, body=body if length else None, again=False,
        )  # fmt: skip
        if not last:
            self._go_on(connection.location(answer), start + length)

    def _go_on(self, location: str, offset: int) -> None:
        self._location, self._offset = location, offset
        self._memory.note_upload(self._repository.name, self._blob.digest, location)

    def _moved(self, count: int) -> None:
        if self._repository.connection.stop.is_set():
            raise Stopped
        self.sent += count
        self._advance(count)

    def _check_file(self) -> None:
        """After a refusal: is it our own copy that is damaged?"""
        if f"sha256:{sha256_of(self._file)}" != self._blob.digest:
            self._file.unlink(missing_ok=True)
            raise StoreError(
                f"{self._file} was changed since it was made, and {self._repository.connection.registry} refused it; "
                "it is removed: the same command makes it again"
            )


class _Slice:
    """A part of a file as the body of a request, counted as it goes.

    No `io` class: `requests` would take its `tell` for the beginning of the body, and send it without a length.
    """

    def __init__(self, path: Path, start: int, length: int, moved: Callable[[int], None]) -> None:
        self._file = path.open("rb")
        self._file.seek(start)
        self._left = length
        self._moved = moved

    def __len__(self) -> int:
        return self._left

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(_PIECE):
            yield piece

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            return b""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        self._moved(len(data))
        if not self._left:
            self._file.close()
        return data
