"""The name of a curated environment in, a request out; and how their locks are refreshed.

A curated environment is an environment file and a base that come with envbuild (`images/environments/`). Its lock is
the newest that this home has made (`curated refresh`), else the one that came with envbuild, else it is solved when it
is first used. Registered it is called `curated-NAME`; everywhere it is written `curated/NAME`.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from envbuild.builder.lock import Lock, lock_digest, read_lock
from envbuild.builder.report import Reporter
from envbuild.images.curated import CuratedEnvironment, read_curated
from envbuild.settings import Settings

from .changes import package_changes
from .environments import Environment
from .request import ReadingOptions, Request, read_request

PREFIX = "curated/"


@dataclass(frozen=True)
class Refreshed:
    """What locking a curated environment again gave."""

    before: Lock | None
    """`None` when it was not locked before."""
    after: Lock
    file: Path

    @property
    def changes(self) -> tuple[str, ...]:
        """A line for every package that came, went or changed."""
        before = self.before or Lock(self.after.platform, (), ())
        return tuple(package_changes(before, self.after).lines)


def is_curated(reference: str) -> bool:
    """Whether `reference` names a curated environment rather than a registered one."""
    return reference.startswith(PREFIX)


def find_curated(reference: str) -> CuratedEnvironment:
    """The curated environment `curated/NAME`, or plain `NAME`.

    Raises:
        NotFound: there is none; the message lists the known ones.
    """
    return read_curated(reference.removeprefix(PREFIX))


def newest_lock(curated: CuratedEnvironment, settings: Settings, platform: str = "linux-64") -> Lock | None:
    """The lock that a use of `curated` takes; `None` when it has not been locked for `platform` yet."""
    for file in (_own_lock(curated, settings), curated.lock_file):
        if file.is_file():
            return read_lock(file, platform)
    return None


def curated_request(
    reference: str, settings: Settings, *, name: str | None = None, platform: str = "linux-64"
) -> Request:
    """What `curated/NAME` asks for: its lock where there is one, else its environment file.

    Raises:
        NotFound: no curated environment has that name.
        SpecError, LockError: its files cannot be understood.
    """
    curated = find_curated(reference)
    request = _request(curated, settings, name, platform)
    lock = newest_lock(curated, settings, platform)
    return _with_lock(request, lock) if lock else request


def ensure_curated(reference: str, settings: Settings, reporter: Reporter) -> Environment:
    """`curated/NAME` as a registered environment, built now if it was not before.

    Raises:
        EnvbuildError: as `curated_request` and `register` say.
    """
    from .register import register

    return register(curated_request(reference, settings), settings, reporter).environment


def refresh(
    reference: str, settings: Settings, reporter: Reporter, *, into: Path | None = None, platform: str = "linux-64"
) -> Refreshed:
    """Solve `curated/NAME` again, and keep its lock: in this home, or as `into`/NAME/conda-lock.yml.

    Raises:
        EnvbuildError: as `lock_only` says; the lock that was there stays.
    """
    from .locking import lock_only

    curated = find_curated(reference)
    request = _request(curated, settings, None, platform)
    before = newest_lock(curated, settings, platform)
    target = into / curated.name / curated.lock_file.name if into else _own_lock(curated, settings)
    target.parent.mkdir(parents=True, exist_ok=True)
    (after,) = lock_only(request, target, settings, reporter, refresh=True)
    return Refreshed(before, after, target)


def _request(curated: CuratedEnvironment, settings: Settings, name: str | None, platform: str) -> Request:
    options = ReadingOptions(name=name, platforms=(platform,))
    return replace(read_request(curated.spec_file, settings, options=options), base=curated.base)


def _own_lock(curated: CuratedEnvironment, settings: Settings) -> Path:
    return settings.home / "curated" / curated.name / curated.lock_file.name


def _with_lock(request: Request, lock: Lock) -> Request:
    """`request`, answered: another lock of it is another request."""
    ingredients = {**request.ingredients, "lock": lock_digest(lock)}
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"))
    key = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return replace(request, key=key, ingredients=ingredients, wanted=(lock,))
