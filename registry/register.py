"""An environment file in, a registered `name:version` out.

    file -> EnvironmentSpec -> spec key -> (known lock | solve) -> environment id -> (known version | build) -> version

The same content never makes a new version: the spec key finds the lock of an equal request, the environment id finds
the version that was built from it. `refresh` solves again although the request is known.
"""

import hashlib
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.builder.base import Base, ensure_base
from envbuild.builder.build import Build, build
from envbuild.builder.lock import Lock, is_lock_file, lock_digest, read_lock, write_lock
from envbuild.builder.log import FILE_NAME as LOG_NAME
from envbuild.builder.log import BuildLog
from envbuild.builder.pack import PACKER_VERSION
from envbuild.builder.plan import LAYOUT_VERSION
from envbuild.builder.report import Reporter
from envbuild.builder.spec import EnvironmentSpec, read_spec, spec_key
from envbuild.builder.store import Store
from envbuild.errors import EnvbuildError, InputError
from envbuild.settings import Settings

from . import project
from .cache import open_cache
from .environments import (
    LOCK,
    Environment,
    add_version,
    check_name,
    find_lock,
    find_version,
    image_record,
    load,
)


@dataclass(frozen=True)
class Registration:
    """What `register` did."""

    environment: Environment
    status: str
    """`built` (a new version) or `reused`."""
    packed: int
    """Packages that had to be unpacked."""
    packages: int
    seconds: Mapping[str, float]
    log: Path


@dataclass(frozen=True)
class _Request:
    """What is asked for, whatever kind of file it came from."""

    name: str
    key: str
    ingredients: Mapping[str, Any]
    variables: tuple[tuple[str, str], ...]
    spec: EnvironmentSpec | None
    """`None` when the file is a lock."""


def register(
    file: Path, settings: Settings, reporter: Reporter, *, name: str | None = None, base: str | None = None,
    platform: str = "linux-64", refresh: bool = False,
) -> Registration:  # fmt: skip
    """Register the environment that `file` describes (environment.yml, requirements.txt, conda-lock.yml).

    Raises:
        EnvbuildError: as the stages say; what was written to the build log until then is kept.
    """
    begin = time.perf_counter()
    request = _read_request(file, name, settings, platform)
    for note in request.spec.notes if request.spec else ():
        reporter.say(note)
    foundation = ensure_base(base or settings.base, settings, reporter)
    known = None if refresh else _known_version(request, foundation, settings)
    if known is not None:
        project.remember(settings, known.reference)
        seconds = {"total": round(time.perf_counter() - begin, 3)}
        return Registration(known, "reused", 0, known.record["packages"], seconds, known.build_log)
    return _register_new(file, request, foundation, settings, reporter, platform, refresh, begin)


def lock_only(
    file: Path,
    target: Path,
    settings: Settings,
    reporter: Reporter,
    *,
    platform: str = "linux-64",
    refresh: bool = False,
) -> Lock:
    """Lock the environment of `file` into the file `target`, and build nothing."""
    request = _read_request(file, None, settings, platform)
    with tempfile.TemporaryDirectory() as folder:
        log = BuildLog(Path(folder) / LOG_NAME, reporter)
        lock = _lock(file, request, settings, log, platform, refresh)
        log.close()
    write_lock(lock, target)
    return lock


def _read_request(file: Path, name: str | None, settings: Settings, platform: str) -> _Request:
    if not file.is_file():
        raise InputError(f"{file} is not a file; name an environment.yml, a requirements.txt or a conda-lock.yml")
    if is_lock_file(file):
        chosen = check_name(name or file.absolute().parent.name)
        key = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
        return _Request(chosen, key, {"lock_file": key, "platform": platform}, (), None)
    from envbuild.builder.solve import steering

    spec = read_spec(file, name=name)
    key, ingredients = spec_key(spec, steering(settings, platform))
    return _Request(check_name(spec.name), key, ingredients, spec.variables, spec)


def _identity_key(request: _Request, foundation: Base) -> str:
    """The cache key from which the environment id follows without reading the lock."""
    return f"environment:{request.key}:{foundation.diff_id}:{LAYOUT_VERSION}:{PACKER_VERSION}"


def _known_version(request: _Request, foundation: Base, settings: Settings) -> Environment | None:
    with open_cache(settings.home) as cache:
        identity = cache.get(_identity_key(request, foundation))
    environment = find_version(settings.home, request.name, identity) if identity else None
    if environment and Store(settings.home).has_trees(environment.layers):
        return environment
    return None


def _register_new(
    file: Path, request: _Request, foundation: Base, settings: Settings, reporter: Reporter, platform: str,
    refresh: bool, begin: float,
) -> Registration:  # fmt: skip
    log_folder = settings.home / "logs" / f"{request.name}-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6}"
    log = BuildLog(log_folder / LOG_NAME, reporter)
    log.log("register", f"{file.name} as {request.name}, spec key {request.key}")
    try:
        lock = _lock(file, request, settings, log, platform, refresh)
        result = build(
            lock, request.variables, {"org.opencontainers.image.title": "envbuild"}, foundation, settings, log
        )
        environment = _version(file, request, lock, result, foundation, settings, log)
    except BaseException as error:
        log.log("failed", str(error) or type(error).__name__)
        if isinstance(error, EnvbuildError):
            error.add_log(log.path)
        raise
    finally:
        log.close()
    seconds = {**log.seconds, "total": round(time.perf_counter() - begin, 3)}
    with open_cache(settings.home) as cache:
        cache.set(_identity_key(request, foundation), result.environment_id)
    project.remember(settings, environment.reference)
    status = "built" if environment.record["seconds"] == log.seconds else "reused"
    return Registration(environment, status, result.packed, result.packages, seconds, environment.build_log)


def _lock(file: Path, request: _Request, settings: Settings, log: BuildLog, platform: str, refresh: bool) -> Lock:
    """The lock of the request: the file itself, the one of an equal request, or a new one."""
    if request.spec is None:
        return read_lock(file, platform)
    known = None if refresh else _known_lock(request, settings)
    if known is not None:
        log.log("lock", "the same request was locked before; nothing is solved again")
        return read_lock(known, platform)
    from envbuild.builder.solve import solve

    with log.stage("lock"):
        lock = solve(request.spec, settings, platform, log)
        for package in lock.packages:
            log.log("lock", f"{package.manager}  {package.filename}  sha256:{package.sha256}")
    write_lock(lock, _lock_path(request, settings))
    return lock


def _lock_path(request: _Request, settings: Settings) -> Path:
    """Where the newest lock of a request is kept, also when its build fails."""
    return settings.home / "locks" / f"{request.key.removeprefix('sha256:')}.yml"


def _known_lock(request: _Request, settings: Settings) -> Path | None:
    path = _lock_path(request, settings)
    return path if path.is_file() else find_lock(settings.home, request.key)


def _version(
    file: Path, request: _Request, lock: Lock, result: Build, foundation: Base, settings: Settings, log: BuildLog
) -> Environment:
    """The version that holds the build: one that is registered already, or the next."""
    known = find_version(settings.home, request.name, result.environment_id)
    if known is not None and known.record["image"]["digest"] == result.image.digest:
        return known
    lock_file = log.path.parent / LOCK
    write_lock(lock, lock_file)
    record = {
        "environment_id": result.environment_id,
        "ingredients": result.ingredients,
        "spec_key": request.key,
        "spec_ingredients": request.ingredients,
        "lock_digest": lock_digest(lock),
        "platform": lock.platform,
        "base": {"name": foundation.name, "version": foundation.version, "diff_id": foundation.diff_id},
        "packages": result.packages,
        "registered": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "image": image_record(result.image),
        "seconds": log.seconds,
    }
    spec_name = "spec.yml" if request.spec is None or file.suffix in (".yml", ".yaml") else "requirements.txt"
    files = {spec_name: file, LOCK: lock_file, LOG_NAME: log.path}
    return add_version(settings.home, request.name, record, files)


def find_environment(settings: Settings, reference: str | None) -> tuple[Environment, str]:
    """The environment `reference`, or the project's own; and how it was chosen, to be said aloud.

    Raises:
        NotFound: there is no such environment.
        InputError: none is named and none was registered in this project.
    """
    if reference:
        return load(settings.home, reference), "named"
    if settings.environment:
        return load(settings.home, settings.environment), "the project's default"
    last = project.last_registered(settings)
    if last is None:
        raise InputError(
            "no environment is named, and none was registered in this project; "
            "register one (envbuild register environment.yml) or name one (--env NAME)"
        )
    return load(settings.home, last), "the last one registered in this project"
