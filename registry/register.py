"""A request in, a registered `name:version` out.

    Request -> spec key -> (known lock | solve) -> environment id -> (known version | build) -> version

The same content never makes a new version: the spec key finds the lock of an equal request, the environment id finds
the version that was built from it. `refresh` solves again although the request is known. On every miss one line says
which ingredient made it one.
"""

import hashlib
import time

from envbuild.builder.bases.base import base_key, ensure_base
from envbuild.builder.home_lock import sharing
from envbuild.builder.packing.pack import PACKER_VERSION
from envbuild.builder.plan import LAYOUT_VERSION
from envbuild.builder.report import Reporter
from envbuild.errors import InputError
from envbuild.settings import Settings

from . import project
from .environments import Environment, load
from .registration import Registration, known_version, pulled, reused
from .request import Request


def register(
    request: Request, settings: Settings, reporter: Reporter, *, base: str | None = None, refresh: bool = False
) -> Registration:
    """Register the environment that `request` asks for.

    Raises:
        EnvbuildError: as the stages say; what was written to the build log until then is kept.
    """
    begin = time.perf_counter()
    for note in request.notes:
        reporter.say(note)
    name = base or request.base or settings.base
    with sharing(settings.home, reporter):
        key = _request_key(request, name, settings, reporter)
        known = None if refresh else known_version(request, key, settings)
        if known is not None:
            return reused(known, settings, begin)
        # what follows is slow to load, and a request that is known needs none of it
        from .new_version import register_new
        from .sharing import SharedCache

        shared = SharedCache(settings, reporter)
        there = None if refresh else shared.pull_request(request, key)
        if there is not None:
            return pulled(there, key, settings, begin)
        bases = tuple(ensure_base(name, settings, reporter, platform) for platform in request.platforms)
        return register_new(request, bases, key, shared, settings, reporter, refresh, begin)


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


def _request_key(request: Request, base: str, settings: Settings, reporter: Reporter) -> str:
    """`sha256:<hex>` of all that the environment id will follow from, without the lock and without the base."""
    below = ":".join(base_key(base, settings, reporter, platform) for platform in request.platforms)
    scripts = ",".join(sorted(settings.allow_scripts))
    text = f"{request.key}:{below}:{LAYOUT_VERSION}:{PACKER_VERSION}:{scripts}"
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
