"""Downloads that are what the lock promised, several at a time.

packages/SHA256/FILENAME
"""

import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

from envbuild.errors import FetchError, StoreError
from envbuild.settings import Settings

from .. import atomic
from ..file_digest import sha256_of
from ..lock import LockedPackage
from ..report import Reporter
from .credentials import Credentials
from .download import Download, bring

_PARALLEL = 4


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
    credentials = Credentials(settings)
    given_up = threading.Event()

    def wait(seconds: float) -> None:
        if given_up.wait(seconds):
            raise _GivenUp

    with reporter.task("fetch", None) as task, ThreadPoolExecutor(_PARALLEL) as pool:

        def advance(count: int) -> None:
            task.advance(count)
            wait(0)

        jobs = [
            pool.submit(_fetch_one, package, files[package.sha256], credentials, advance, wait) for package in missing
        ]
        try:
            for job, package in zip(jobs, missing, strict=True):
                job.result()
                reporter.log("fetch", package.filename)
        except BaseException:
            given_up.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return files


def sha256_by_md5(wanted: Sequence[tuple[str, str]], settings: Settings, reporter: Reporter) -> dict[str, str]:
    """Bring the files of (URL, MD5) pairs; return MD5 -> sha256. What was asked for once is not brought again.

    Raises:
        FetchError: a file cannot be had, or has another MD5.
        StoreError: the disk is full.
    """
    packages = settings.home / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    credentials = Credentials(settings)
    found = {}
    with reporter.task("fetch", None) as task, tempfile.TemporaryDirectory(prefix=".tmp-", dir=packages) as folder:
        for url, md5 in wanted:
            note = packages / "md5" / md5
            if not note.is_file():
                file = Path(folder) / unquote(urlsplit(url).path.rpartition("/")[2])
                _bring(Download(url, "md5", md5), file, credentials, task.advance)
                sha256 = sha256_of(file)
                target = packages / sha256 / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)
                atomic.write_file(note, sha256.encode())
            found[md5] = note.read_text(encoding="ascii")
    return found


class _GivenUp(Exception):
    """Ctrl-C, or another package that cannot be had: what has arrived stays for the next time. Nobody sees this."""


def _fetch_one(
    package: LockedPackage,
    target: Path,
    credentials: Credentials,
    advance: Callable[[int], None],
    wait: Callable[[float], None],
) -> None:
    with atomic.key_lock(target.parent.parent, package.sha256, wait):
        if not target.is_file():
            _bring(Download(package.url, "sha256", package.sha256), target, credentials, advance)


def _bring(wanted: Download, target: Path, credentials: Credentials, advance: Callable[[int], None]) -> None:
    try:
        bring(wanted, target, credentials, advance)
    except OSError as error:
        if isinstance(error, (ConnectionError, TimeoutError)):
            raise FetchError(f"{wanted.shown} cannot be reached: {error}") from error
        raise StoreError(f"{target} cannot be written: {error.strerror or error}; make room, then go on") from error
