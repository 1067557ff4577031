"""One file by its URL, verified by its hash before it gets its name, resumed after a cut.

A partial file is kept as `FILENAME.part` beside it and continued with a range request (RFC 9110, section 14).
Credentials are sent to the place that they are for and to no other: a redirect to another host goes without.
"""

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from envbuild.errors import FetchError

from .. import atomic
from ..lock import without_credentials
from ..report import size
from .certificates import certificates
from .credentials import Credential, Credentials
from .session import new_session

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

_TRIES = 4
_CHUNK = 1 << 20
_MOST = 64 << 30
"""Bytes: no package is as large, and a server that never ends is not to fill the disk."""
_TIMEOUT = (10, 60)
"""Seconds to connect, and between two pieces."""


@dataclass(frozen=True)
class Download:
    """What is to be brought, and how it is known."""

    url: str
    algorithm: str
    """Of hashlib: `sha256`, or `md5` where a list has nothing better."""
    digest: str
    """Hex; empty where nobody knows it yet."""

    @property
    def shown(self) -> str:
        return without_credentials(self.url)

    def verify(self, digest: str) -> None:
        """Raise FetchError unless `digest` is the one expected."""
        if self.digest and digest != self.digest:
            raise FetchError(
                f"{self.shown} has {self.algorithm} {digest}, the lock says {self.digest}; the file is damaged or was "
                "replaced: ask who runs the channel, or lock anew with --refresh"
            )


def bring(wanted: Download, target: Path, credentials: Credentials, advance: Callable[[int], None]) -> str:
    """Put the file under its name `target`; return its digest; call `advance` with the bytes of each piece.

    Raises:
        FetchError: it cannot be had, or is not what was expected.
        OSError: the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if wanted.url.startswith("file://"):
        return _take_local(wanted, target, advance)
    return _download(wanted, target, credentials, advance)


def _take_local(wanted: Download, target: Path, advance: Callable[[int], None]) -> str:
    """Link or copy a file of this machine, after reading all of it."""
    source = Path(unquote(urlsplit(wanted.url).path))
    if not source.is_file():
        raise FetchError(f"{source} does not exist any more; build or mount the channel again, or lock anew")
    digest = hashlib.new(wanted.algorithm)
    try:
        content = source.open("rb")
    except OSError as error:
        raise FetchError(f"{source} cannot be read: {error.strerror}") from None
    with content, atomic.new_file(target) as temporary:
        with temporary.open("wb") as copy:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
                copy.write(chunk)
                advance(len(chunk))
        wanted.verify(digest.hexdigest())
    return digest.hexdigest()


def _download(wanted: Download, target: Path, credentials: Credentials, advance: Callable[[int], None]) -> str:
    part = target.with_name(f"{target.name}.part")
    for attempt in range(1, _TRIES + 1):
        try:
            _continue_download(wanted, part, credentials, advance)
            break
        except _Passing as error:
            if attempt == _TRIES:
                raise FetchError(f"{wanted.shown} could not be downloaded: {error}; try again later") from None
            time.sleep(0.2 * 2**attempt)
    digest = hashlib.new(wanted.algorithm)
    with part.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    try:
        wanted.verify(digest.hexdigest())
    except FetchError:
        part.unlink()
        raise
    part.replace(target)
    return digest.hexdigest()


class _Passing(Exception):
    """A fault that may be gone at the next try."""


class _Endless(Exception):
    """More arrives than any package has."""


def _continue_download(wanted: Download, part: Path, credentials: Credentials, advance: Callable[[int], None]) -> None:
    import requests

    have = part.stat().st_size if part.exists() else 0
    # a server that compresses on the way would make offsets and lengths mean something else
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    url = credentials.with_token(wanted.url)
    try:
        answer = _ask(url, headers, credentials.find(wanted.url))
        if answer.status_code in (401, 403) and credentials.ask_keyring(wanted.url):
            answer.close()
            answer = _ask(url, headers, credentials.find(wanted.url))
        with answer:
            _check(answer.status_code, wanted, part)
            append = answer.status_code == 206
            length = answer.headers.get("Content-Length") or ""
            expected = int(length) if length.isdecimal() else 0
            received = 0
            with part.open("ab" if append else "wb") as file:
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    received += len(chunk)
                    if file.tell() > _MOST:
                        raise _Endless
                    advance(len(chunk))
                file.flush()
                os.fsync(file.fileno())
            if expected and received < expected:
                raise _Passing(f"only {received} of {expected} bytes arrived")
    except _Endless:
        part.unlink()
        raise FetchError(f"{wanted.shown} sends more than {size(_MOST)}, which no package has; refused") from None
    except requests.Timeout:
        raise _Passing(f"{urlsplit(wanted.url).hostname} does not answer in time") from None
    except requests.exceptions.SSLError:
        raise _Passing(f"{urlsplit(wanted.url).hostname} shows a certificate that is not trusted here") from None
    except requests.ConnectionError:
        raise _Passing(f"{urlsplit(wanted.url).hostname} cannot be reached, or broke off") from None
    except requests.RequestException as error:
        raise _Passing(type(error).__name__) from None


def _ask(url: str, headers: Mapping[str, str], credential: Credential | None) -> "Response":
    def authorize(request: "PreparedRequest") -> "PreparedRequest":
        """Also without a credential: else requests would look into netrc itself, and let that win."""
        if credential:
            request.headers["Authorization"] = credential.header
        return request

    with new_session() as session:
        return session.get(
            url, headers=dict(headers), stream=True, timeout=_TIMEOUT, verify=certificates(), auth=authorize
        )


def _check(status: int, wanted: Download, part: Path) -> None:
    if status == 416:  # the part is longer than the file: it is of no use
        part.unlink(missing_ok=True)
        raise _Passing("the server has less than what is here already")
    if status >= 500 or status == 429:
        raise _Passing(f"the server answered {status}")
    if status in (401, 403):
        raise FetchError(
            f"{wanted.shown} answered {status}: it wants credentials, or refuses those it got; "
            "docs/private-channels.md says where they go"
        )
    if status >= 400:
        raise FetchError(
            f"{wanted.shown} answered {status}; the package is gone from its channel: lock anew with --refresh"
        )
