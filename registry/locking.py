"""A request in, its locks out: its own, those of an equal request, here or at the team, or new ones."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from envbuild.builder.bases.base import Base, ensure_base
from envbuild.builder.home_lock import sharing
from envbuild.builder.lock import Lock, read_locks, write_locks
from envbuild.builder.log import FILE_NAME as LOG_NAME
from envbuild.builder.log import BuildLog
from envbuild.builder.report import Reporter
from envbuild.builder.spec import EnvironmentSpec
from envbuild.errors import InputError
from envbuild.settings import Settings

from .environments import find_lock
from .request import Request
from .sharing import SharedCache


def lock_only(
    request: Request,
    target: Path,
    settings: Settings,
    reporter: Reporter,
    *,
    base: str | None = None,
    refresh: bool = False,
) -> tuple[Lock, ...]:
    """Lock the environment that `request` asks for into the file `target`, and build nothing."""
    for note in request.notes:
        reporter.say(note)
    with sharing(settings.home, reporter), tempfile.TemporaryDirectory() as folder:
        log = BuildLog(Path(folder) / LOG_NAME, reporter)
        name = base or request.base or settings.base
        locks = locks_of(
            request,
            lambda platform: ensure_base(name, settings, log, platform),
            SharedCache(settings, log),
            settings,
            log,
            refresh,
        )
        log.close()
    try:
        write_locks(locks, target)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written in {Path.cwd()}: {error.strerror or error}; go to a folder that can be written"
        ) from None
    return locks


def locks_of(
    request: Request, find_base: Callable[[str], Base], shared: SharedCache, settings: Settings, log: BuildLog,
    refresh: bool,
) -> tuple[Lock, ...]:  # fmt: skip
    """The locks of `request`, one for each of its platforms; `find_base` is asked only when sources must be built.

    Raises:
        SolveError, FetchError, InputError: as `solve` says.
    """
    if not isinstance(request.wanted, EnvironmentSpec):
        return request.wanted
    known = None if refresh else _known_lock(request, settings)
    if known is not None:
        log.log("lock", "the same request was locked before; nothing is solved again")
        locks = read_locks(known, request.platforms)
        for dropped in (each for lock in locks for each in lock.dropped):
            log.say(dropped)
        return locks
    theirs = None if refresh else shared.locks(request)
    if theirs is not None:
        log.log("lock", "the shared registry has the lock of the same request; nothing is solved again")
        write_locks(theirs, _lock_path(request, settings))
        return theirs
    from envbuild.builder.solving.solve import solve

    with log.stage("lock"):
        locks = tuple(
            solve(request.wanted, settings, platform, log, partial(find_base, platform))
            for platform in request.platforms
        )
        for package in (package for lock in locks for package in lock.packages):
            log.log("lock", f"{package.manager}  {package.filename}  sha256:{package.sha256}")
    write_locks(locks, _lock_path(request, settings))
    return locks


def _lock_path(request: Request, settings: Settings) -> Path:
    """Where the newest lock of a request is kept, also when its build fails."""
    return settings.home / "locks" / f"{request.key.removeprefix('sha256:')}.yml"


def _known_lock(request: Request, settings: Settings) -> Path | None:
    path = _lock_path(request, settings)
    return path if path.is_file() else find_lock(settings.home, request.key)
