"""A blob out of a repository into the store: verified before it gets its name, continued after a cut."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from envbuild.errors import RegistryError

from .. import atomic
from ..file_digest import sha256_of
from ..image import Blob
from ..store import Store
from .connection import Stopped, what_broke
from .repository import Repository

_TRIES = 5
_PIECE = 1 << 18


def download_blob(repository: Repository, blob: Blob, store: Store, advance: Callable[[int], None]) -> Path:
    """Bring `blob` into the store and return its file; what is there already does not travel.

    A part is kept below `store/parts/` and continued with a range request (RFC 9110, section 14).

    Raises:
        RegistryError: it cannot be had, or is not what its digest says.
    """
    file = store.blob_file(blob.digest)
    parts = store.folder / "parts"
    with atomic.key_lock(parts, file.name, repository.connection.wait):
        if file.is_file():
            return file
        part = parts / file.name
        for attempt in range(1, _TRIES + 1):
            try:
                _continue(repository, blob, part, advance)
                _verify(repository, blob, part)
                break
            except _Passing as error:
                if attempt == _TRIES:
                    raise RegistryError(f"{_name(repository, blob)}: {error}; the same command goes on later") from None
                repository.connection.wait(0.2 * 2**attempt)
        store.blobs.mkdir(parents=True, exist_ok=True)
        store.take_blob(blob.digest, part)
    return file


class _Passing(Exception):
    """A fault that may be gone at the next try."""


def _continue(repository: Repository, blob: Blob, part: Path, advance: Callable[[int], None]) -> None:
    import requests

    have = part.stat().st_size if part.exists() else 0
    if have == blob.size:
        return
    if have > blob.size:
        part.unlink()
        have = 0
    connection = repository.connection
    # a server that compresses on the way would make offsets and lengths mean something else
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    answer = connection.send(
        "GET", f"{repository.name}/blobs/{blob.digest}", _name(repository, blob), scopes=repository.scopes,
        ok=(200, 206, 416), headers=headers, stream=True,
    )  # fmt: skip
    with answer:
        if answer.status_code == 416:
            part.unlink(missing_ok=True)
            raise _Passing("the registry has less than what is here already")
        begun = have if answer.status_code == 206 else 0
        with part.open("ab" if begun else "wb") as file:
            try:
                for piece in answer.iter_content(_PIECE):
                    if connection.stop.is_set():
                        raise Stopped
                    begun += len(piece)
                    if begun > blob.size:
                        break
                    file.write(piece)
                    advance(len(piece))
            except requests.RequestException as error:
                raise _Passing(what_broke(error)) from None
    if begun < blob.size:
        raise _Passing(f"only {begun} of {blob.size} bytes arrived")
    if begun > blob.size:
        part.unlink()
        raise _Passing(f"more than the promised {blob.size} bytes arrived")


def _verify(repository: Repository, blob: Blob, part: Path) -> None:
    found = f"sha256:{sha256_of(part)}"
    if found != blob.digest:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        raise _Passing(f"it arrived with the digest {found}; it was damaged on the way or in the registry")


def _name(repository: Repository, blob: Blob) -> str:
    return f"the blob {blob.digest} of {repository.place}"
