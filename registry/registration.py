"""What registering did; and how a request that was answered before is answered again without reading any lock.

The cache keeps `environment:KEY` -> environment id, where KEY covers the request, the base and our own versions.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from envbuild.builder.store import Store
from envbuild.settings import Settings

from . import project
from .cache import keep, recall
from .environments import Environment, find_version, touch
from .request import Request


@dataclass(frozen=True)
class Registration:
    """What `register` did."""

    environment: Environment
    status: str
    """`built` (a new version), `pulled` (from the shared registry) or `reused`."""
    packed: int
    """Packages that had to be unpacked."""
    packages: int
    seconds: Mapping[str, float]
    log: Path
    reason: str = ""
    """Why it was built, or why not although the request is new; empty when the request was known."""


def known_version(request: Request, key: str, settings: Settings) -> Environment | None:
    """The version that an equal request gave before, when all its layers are here."""
    identity = recall(settings.home, f"environment:{key}")
    environment = find_version(settings.home, request.name, identity) if identity else None
    if environment and Store(settings.home).has_trees(environment.all_layers):
        return environment
    return None


def remember_identity(key: str, identity: str, settings: Settings) -> None:
    """Note that requests with `key` give the environment `identity`."""
    keep(settings.home, f"environment:{key}", identity)


def reused(known: Environment, settings: Settings, begin: float, reason: str = "") -> Registration:
    """`known` answers the request; `begin` is when it was made, by `time.perf_counter`."""
    touch(known)
    project.remember(settings, known.reference)
    seconds = {"total": round(time.perf_counter() - begin, 3)}
    return Registration(known, "reused", 0, known.record["packages"], seconds, known.build_log, reason)


def pulled(known: Environment, key: str, settings: Settings, begin: float) -> Registration:
    """`known` came from the shared registry; `begin` as in `reused`."""
    remember_identity(key, known.environment_id, settings)
    seconds = {"total": round(time.perf_counter() - begin, 3)}
    packages = known.record["packages"]
    return Registration(known, "pulled", 0, packages, seconds, known.build_log, "the shared registry had it")
