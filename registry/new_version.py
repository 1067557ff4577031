"""A request that nothing here answers in, a built and registered version out, with the line that says why."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from envbuild.builder import atomic
from envbuild.builder.bases.base import Base
from envbuild.builder.build import Build, build, identify
from envbuild.builder.image import digest, make_index
from envbuild.builder.lock import Lock, locks_digest, write_locks
from envbuild.builder.log import FILE_NAME as LOG_NAME
from envbuild.builder.log import BuildLog
from envbuild.builder.plan import joint_identity
from envbuild.builder.report import Reporter
from envbuild.builder.store import Store
from envbuild.errors import EnvbuildError
from envbuild.settings import Settings

from . import project
from .changes import summary
from .compare import explain_build
from .documents import make_documents
from .environments import LOCK, Environment, add_version, find_version, image_record, newest_version
from .locking import locks_of
from .rebuild import LABELS
from .registration import Registration, pulled, remember_identity, reused
from .request import Request
from .sharing import SharedCache


def register_new(
    request: Request, bases: Sequence[Base], key: str, shared: SharedCache, settings: Settings, reporter: Reporter,
    refresh: bool, begin: float,
) -> Registration:  # fmt: skip
    """Lock, build and register `request` on `bases`, one for each platform; `key` and `begin` as in `registration`.

    Raises:
        EnvbuildError: as the stages say; the build log is kept.
    """
    log_folder = settings.home / "logs" / f"{request.name}-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6}"
    log = BuildLog(log_folder / LOG_NAME, reporter)
    log.log("register", f"{request.source} as {request.name}, spec key {request.key}")
    try:
        foundations = dict(zip(request.platforms, bases, strict=True))
        locks = locks_of(request, foundations.__getitem__, shared, settings, log, refresh)
        identity, made_of = _identify(locks, request, bases, settings)
        known = find_version(settings.home, request.name, identity)
        there = shared.pull_environment(identity, request) if known is None else None
        if there is not None:
            return pulled(there, key, settings, begin)
        reason = _reason(request, locks, made_of, bases, known, settings, log, refresh)
        if known is None or not Store(settings.home).has_trees(known.all_layers):
            builds = tuple(
                build(lock, request.variables, LABELS, base, settings, log)
                for lock, base in zip(locks, bases, strict=True)
            )
            known = None
            environment, is_new = _version(request, locks, identity, builds, bases[0], key, settings, log, reason)
    except BaseException as error:
        log.log("failed", str(error) or type(error).__name__)
        if isinstance(error, EnvbuildError):
            error.add_log(log.path)
        raise
    finally:
        log.close()
    remember_identity(key, identity, settings)
    if known is not None:
        return reused(known, settings, begin, reason)
    project.remember(settings, environment.reference)
    seconds = {**log.seconds, "total": round(time.perf_counter() - begin, 3)}
    status = "built" if is_new else "reused"
    packed, packages = sum(each.packed for each in builds), sum(each.packages for each in builds)
    return Registration(environment, status, packed, packages, seconds, environment.build_log, reason)


def _identify(
    locks: Sequence[Lock], request: Request, bases: Sequence[Base], settings: Settings
) -> tuple[str, list[dict[str, object]]]:
    """The environment id, of several platforms together where there are, and what each one's is made of."""
    found = [identify(lock, request.variables, base, settings) for lock, base in zip(locks, bases, strict=True)]
    return joint_identity([identity for identity, _ in found]), [made_of for _, made_of in found]


def _reason(
    request: Request, locks: Sequence[Lock], made_of: Sequence[Mapping[str, Any]], bases: Sequence[Base],
    known: Environment | None, settings: Settings, reporter: Reporter, refresh: bool,
) -> str:  # fmt: skip
    """Say why something is built now, or why not."""
    before = newest_version(settings.home, request.name)
    if before is None:
        reason = f"first version of {request.name}"
    else:
        changes = explain_build(before, request, locks, made_of, [f"{base.name}:{base.version}" for base in bases])
        reason = summary(changes)
        if refresh and known is None:
            reporter.say(f"solved again; what is different from {before.reference}:")
            for change in changes:
                reporter.say(f"  {change.line}")
    if known is None:
        reporter.say(f"new build: {reason}")
    elif not Store(settings.home).has_trees(known.all_layers):
        reason = "its layers are not here any more"
        reporter.say(f"building {known.reference} again: {reason}")
    elif refresh:
        reason = "solved again, nothing is different"
        reporter.say(f"{reason}: {known.reference} stays")
    else:
        reason = f"the same packages as {known.reference}" + (f"; {reason}" if reason else "")
        reporter.say(f"no new build: {reason}")
    return reason


def _version(
    request: Request, locks: Sequence[Lock], identity: str, builds: Sequence[Build], base: Base, key: str,
    settings: Settings, log: BuildLog, reason: str,
) -> tuple[Environment, bool]:  # fmt: skip
    """The version that holds the build: one that is registered already, or the next; and whether it is new."""
    lock_file = log.path.parent / LOCK
    write_locks(locks, lock_file)
    document = log.path.parent / request.document_name
    atomic.write_file(document, request.document)
    inherited = {"variables": dict(base.env)} if base.env else {}
    record = {
        "environment_id": identity,
        "ingredients": builds[0].ingredients,
        "spec_key": request.key,
        "request_key": key,
        "spec_ingredients": request.ingredients,
        "lock_digest": locks_digest(locks),
        "platform": locks[0].platform,
        "base": {"name": base.name, "version": base.version, "diff_id": base.identity, **inherited},
        "packages": sum(each.packages for each in builds),
        "registered": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "image": image_record(builds[0].image),
        "reason": reason,
        "seconds": log.seconds,
        **_of_all_platforms(locks, builds, settings, log),
    }
    dropped = {lock.platform: list(lock.dropped) for lock in locks if lock.dropped}
    if dropped:
        record["dropped"] = dropped
    files = {request.document_name: document, LOCK: lock_file, LOG_NAME: log.path}
    packages = [package for lock in locks for package in lock.packages]
    licenses = {sha256: text for each in builds for sha256, text in each.licenses.items()}
    created = max(each.created for each in builds)
    for file, content in make_documents(request.name, record, packages, licenses, created, settings).items():
        files[file] = log.path.parent / file
        atomic.write_file(files[file], content)
    return add_version(settings.home, request.name, record, files)


def _of_all_platforms(
    locks: Sequence[Lock], builds: Sequence[Build], settings: Settings, log: BuildLog
) -> dict[str, object]:
    """What the record says beside `image` where there is more than one: `images`, the `index` of them, and of what
    each was made, so that who pulls it can check the environment id."""
    if len(builds) == 1:
        return {}
    index = make_index([each.image for each in builds])
    Store(settings.home).add_index(index)
    log.log("image", f"index {digest(index)} of {', '.join(lock.platform for lock in locks)}")
    images = {lock.platform: image_record(each.image) for lock, each in zip(locks, builds, strict=True)}
    ingredients = {lock.platform: each.ingredients for lock, each in zip(locks, builds, strict=True)}
    return {"images": images, "index": {"digest": digest(index)}, "all_ingredients": ingredients}
