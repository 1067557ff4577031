"""Downloads that are what the lock promised: verified by sha256 before they get their name, resumed after a cut.

    packages/SHA256/FILENAME

A partial file is kept as `FILENAME.part` beside it and continued with a range request (RFC 9110, section 14).
"""

import hashlib
import os
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

from envbuild.errors import FetchError, StoreError
from envbuild.settings import Settings

from . import atomic
from .lock import LockedPackage, without_credentials
from .report import Reporter

_PARALLEL = 4
_TRIES = 4
_CHUNK = 1 << 20
_SYSTEM_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_TIMEOUT = (10, 60)
"""Seconds to connect, and between two pieces."""


def fetch(packages: Sequence[LockedPackage], folder: Path, reporter: Reporter, settings: Settings) -> dict[str, Path]:
    """Bring every package into `folder`; return sha256 -> file. What is there already is not touched.

    Raises:
        FetchError: a package cannot be had, or is not what the lock promised.
        StoreError: the disk is full.
    """
    wanted = {package.sha256: package for package in packages}
    files = {sha256: folder / sha256 / package.filename for sha256, package in wanted.items()}
    missing = [package for package in wanted.values() if not files[package.sha256].is_file()]
    if not missing:
        return files
    with reporter.task("fetch", None) as task, ThreadPoolExecutor(_PARALLEL) as pool:
        jobs = [pool.submit(_fetch_one, package, files[package.sha256], task.advance) for package in missing]
        try:
            for job, package in zip(jobs, missing, strict=True):
                job.result()
                reporter.log("fetch", package.filename)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return files


def _fetch_one(package: LockedPackage, target: Path, advance: Callable[[int], None]) -> None:
    with atomic.key_lock(target.parent.parent, package.sha256):
        if target.is_file():
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if package.url.startswith("file://"):
                _take_local(package, target, advance)
            else:
                _download(package, target, advance)
        except OSError as error:
            if isinstance(error, (ConnectionError, TimeoutError)):
                raise FetchError(f"{_shown(package)} cannot be reached: {error}") from error
            raise StoreError(f"{target} cannot be written: {error.strerror or error}; make room, then go on") from error


def _take_local(package: LockedPackage, target: Path, advance: Callable[[int], None]) -> None:
    """Link or copy a file of this machine, after reading all of it."""
    source = Path(unquote(urlsplit(package.url).path))
    if not source.is_file():
        raise FetchError(f"{source} does not exist any more; build or mount the channel again, or lock anew")
    digest = hashlib.sha256()
    with source.open("rb") as content, atomic.new_file(target) as temporary:
        with temporary.open("wb") as copy:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
                copy.write(chunk)
                advance(len(chunk))
        _verify(package, digest.hexdigest())


def _download(package: LockedPackage, target: Path, advance: Callable[[int], None]) -> None:
    part = target.with_name(f"{target.name}.part")
    for attempt in range(1, _TRIES + 1):
        try:
            _continue_download(package, part, advance)
            break
        except _Passing as error:
            if attempt == _TRIES:
                raise FetchError(f"{_shown(package)} could not be downloaded: {error}; try again later") from None
            time.sleep(0.2 * 2**attempt)
    digest = hashlib.sha256()
    with part.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    try:
        _verify(package, digest.hexdigest())
    except FetchError:
        part.unlink()
        raise
    part.replace(target)


class _Passing(Exception):
    """A fault that may be gone at the next try."""


def _continue_download(package: LockedPackage, part: Path, advance: Callable[[int], None]) -> None:
    import requests

    have = part.stat().st_size if part.exists() else 0
    # a server that compresses on the way would make offsets and lengths mean something else
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with requests.get(
            package.url, headers=headers, stream=True, timeout=_TIMEOUT, verify=_certificates()
        ) as answer:
            if answer.status_code == 416:  # the part is longer than the file: it is of no use
                part.unlink()
                raise _Passing("the server has less than what is here already")
            if answer.status_code >= 500 or answer.status_code == 429:
                raise _Passing(f"the server answered {answer.status_code}")
            if answer.status_code >= 400:
                raise FetchError(
                    f"{_shown(package)} answered {answer.status_code}; the package is gone from its channel or needs "
                    "credentials: lock anew with --refresh"
                )
            append = answer.status_code == 206
            expected = int(answer.headers.get("Content-Length") or 0)
            received = 0
            with part.open("ab" if append else "wb") as file:
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    received += len(chunk)
                    advance(len(chunk))
                file.flush()
                os.fsync(file.fileno())
            if expected and received < expected:
                raise _Passing(f"only {received} of {expected} bytes arrived")
    except requests.RequestException as error:
        raise _Passing(type(error).__name__) from None


def _certificates() -> str | bool:
    """The system's certificates, which hold a company's own; those of requests where the system has none."""
    for file in (os.environ.get("REQUESTS_CA_BUNDLE"), ssl.get_default_verify_paths().cafile, _SYSTEM_CERTIFICATES):
        if file and Path(file).is_file():
            return file
    return True


def _verify(package: LockedPackage, sha256: str) -> None:
    if sha256 != package.sha256:
        raise FetchError(
            f"{_shown(package)} has sha256 {sha256}, the lock says {package.sha256}; the file is damaged or was "
            "replaced: ask who runs the channel, or lock anew with --refresh"
        )


def _shown(package: LockedPackage) -> str:
    return without_credentials(package.url)
