"""Two registered environments in, what differs out: for a reader (`diff`) and for why it was built (`explain`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envbuild.builder.bases.base import list_bases
from envbuild.builder.image import Layer
from envbuild.builder.lock import Lock, read_lock, read_locks
from envbuild.builder.packing.pack import PACKER_VERSION
from envbuild.builder.plan import LAYOUT_VERSION
from envbuild.builder.spec import EnvironmentSpec
from envbuild.errors import LockError
from envbuild.settings import Settings

from .changes import (
    Change,
    PackageChanges,
    across_platforms,
    identity_changes,
    package_changes,
    platform_changes,
    request_changes,
)
from .environments import Environment, load, newest_version
from .index import list_versions, versions_of
from .request import Request

NOTHING = PackageChanges((), (), ())


@dataclass(frozen=True)
class PlatformDifference:
    """What is different on one platform of `after`."""

    platform: str
    packages: PackageChanges
    layers: int
    """How many the image has."""
    new_layers: tuple[Layer, ...]

    @property
    def bytes_to_pull(self) -> int:
        """What moves, uncompressed, when somebody who has `before` pulls the image of this platform."""
        return sum(layer.size for layer in self.new_layers)


@dataclass(frozen=True)
class Difference:
    """What is different in `after`."""

    before: Environment
    after: Environment
    identity: tuple[Change, ...]
    """Every ingredient of the environment id that differs; packages are among them."""
    platforms: tuple[PlatformDifference, ...]
    """The platforms of `after`, in their order."""

    @property
    def new_layers(self) -> tuple[Layer, ...]:
        """Of all platforms, each once."""
        return tuple(dict.fromkeys(layer for each in self.platforms for layer in each.new_layers))

    @property
    def shared_layers(self) -> int:
        return len(self.after.all_layers) - len(self.new_layers)

    @property
    def bytes_to_pull(self) -> int:
        """What moves, uncompressed, when somebody who has `before` pulls `after`, all platforms of it."""
        return sum(layer.size for layer in self.new_layers)


def diff(before: Environment, after: Environment) -> Difference:
    """Compare two versions, of one name or of two.

    Raises:
        LockError: the lock of one of them is damaged.
    """
    old = {layer.diff_id for layer in before.all_layers}
    packages = _packages(before, {lock.platform: lock for lock in locks(after)})
    return Difference(
        before=before,
        after=after,
        identity=tuple(_identity(before, after)),
        platforms=tuple(
            PlatformDifference(
                platform,
                packages.get(platform, NOTHING),
                len(after.layers_of(platform)),
                tuple(layer for layer in after.layers_of(platform) if layer.diff_id not in old),
            )
            for platform in after.platforms
        ),
    )


@dataclass(frozen=True)
class Explanation:
    """Why something is, or will be, a build of its own."""

    verdict: str
    """One sentence."""
    before: str | None
    """What it is compared with, for instance `small:1`."""
    changes: tuple[Change, ...]


def explain(after: Environment, before: Environment | None, settings: Settings) -> Explanation:
    """Why `after` is another environment than `before` (default: than the version before it).

    Raises:
        LockError: the lock of one of them is damaged.
    """
    if before is None:
        earlier = [each for each in versions_of(settings.home, after.name) if each < after.version]
        if not earlier:
            return Explanation(f"{after.reference} is the first version of {after.name}", None, ())
        before = load(settings.home, f"{after.name}:{earlier[-1]}")
    changes = tuple(_version_changes(before, after))
    if before.environment_id == after.environment_id:
        verdict = f"{after.reference} and {before.reference} are the same environment"
    else:
        verdict = f"{after.reference} is another environment than {before.reference}:"
    return Explanation(verdict, before.reference, changes)


def explain_file(request: Request, settings: Settings, base: str | None = None) -> Explanation:
    """What `register` would do with `request`, and which line of the file makes it so; nothing is solved or built.

    `base` is the one that `register` is told to take, if it is.
    """
    equal = [each for each in list_versions(settings.home, request.name).entries if each.spec_key == request.key]
    before = load(settings.home, equal[-1].reference) if equal else newest_version(settings.home, request.name)
    if before is None:
        return Explanation(f"{request.source} would be the first version of {request.name}", None, ())
    asked = explain_request(before, request)
    if not isinstance(request.wanted, EnvironmentSpec) and asked:
        asked += _lock_changes(before, request.wanted, request.variables)
    tools = _tool_changes(before, base or request.base or settings.base, settings)
    if asked:
        verdict = f"{request.source} is another request than that of {before.reference}:"
    elif tools:
        verdict = f"{request.source} is the request of {before.reference}, and it would be built again:"
    else:
        verdict = f"{request.source} is the request of {before.reference}: register says reused"
    return Explanation(verdict, before.reference, (*asked, *tools))


def _lock_changes(before: Environment, new: Sequence[Lock], variables: Sequence[tuple[str, str]]) -> list[Change]:
    """What a lock that is named brings: nothing has to be solved to know."""
    packages = _packages(before, {lock.platform: lock for lock in new})
    lines = {platform: [Change("packages", line) for line in found.lines] for platform, found in packages.items()}
    was = before.record["ingredients"].get("variables", {})
    return [
        *across_platforms(lines),
        *identity_changes({"variables": was}, {"variables": dict(variables)}, NOTHING, ("", "")),
    ]


def _tool_changes(before: Environment, wanted: str, settings: Settings) -> list[Change]:
    """What envbuild itself would do differently today: another base, another way of packing."""
    ingredients = before.record["ingredients"]
    found = identity_changes(
        {key: ingredients.get(key) for key in ("layout_version", "packer_version")},
        {"layout_version": LAYOUT_VERSION, "packer_version": PACKER_VERSION},
        NOTHING,
        ("", ""),
    )
    base = before.record["base"]
    newest = next((each for each in list_bases(settings) if each.name == wanted), None)
    if newest is not None and (base["name"], base["version"]) != (newest.name, newest.version):
        found.append(Change("base", f"base {base_name(before)} -> {newest.name}:{newest.version}"))
    return found


def _version_changes(before: Environment, after: Environment) -> list[Change]:
    """What was asked for differently, then what came of it."""
    asked = request_changes(before.record.get("spec_ingredients", {}), after.record.get("spec_ingredients", {}))
    came = _identity(before, after)
    return [*asked, *(change for change in came if change.text not in {each.text for each in asked})]


def explain_build(
    before: Environment, request: Request, new: Sequence[Lock], ingredients: Sequence[Mapping[str, Any]],
    bases: Sequence[str],
) -> list[Change]:  # fmt: skip
    """Why `request`, locked as `new`, is another environment than `before`; `ingredients` and `bases` (`NAME:VERSION`)
    are those of each of its platforms.

    What came of it says what was asked for, too, but for what steers the solve: a changed order of channels is named.
    """
    asked = explain_request(before, request)
    try:
        packages = _packages(before, {lock.platform: lock for lock in new})
    except LockError:  # a damaged record must not be in the way of a new one
        return [Change("packages", f"the lock of {before.reference} cannot be read")]
    each_platform = {
        lock.platform: identity_changes(
            before.ingredients_of(lock.platform), made_of, packages[lock.platform], (base_name(before), base)
        )
        for lock, made_of, base in zip(new, ingredients, bases, strict=True)
        if lock.platform in packages
    }
    steering = [change for change in asked if change.ingredient in ("channels", "steering")]
    came = [*platform_changes(before.platforms, request.platforms), *across_platforms(each_platform)]
    return [*steering, *(change for change in came if change.text not in {each.text for each in steering})]


def explain_request(before: Environment, request: Request) -> list[Change]:
    """What `request` asks for differently, with the line of the file where that is known."""
    places = request.wanted.places if isinstance(request.wanted, EnvironmentSpec) else {}
    return request_changes(before.record.get("spec_ingredients", {}), request.ingredients, places)


def locked(environment: Environment, platform: str | None = None) -> Lock:
    """The packages of a version on `platform`; by default the first of its platforms.

    Raises:
        LockError: the lock is damaged, or has nothing for `platform`.
    """
    return read_lock(environment.lock_file, platform or environment.record["platform"])


def locks(environment: Environment) -> tuple[Lock, ...]:
    """The packages of a version, platform by platform."""
    return read_locks(environment.lock_file, environment.platforms)


def base_name(environment: Environment) -> str:
    """`debian12-minimal:1`"""
    base = environment.record["base"]
    return f"{base['name']}:{base['version']}"


def _identity(before: Environment, after: Environment) -> list[Change]:
    packages = _packages(before, {lock.platform: lock for lock in locks(after)})
    bases = (base_name(before), base_name(after))
    found = {
        platform: identity_changes(before.ingredients_of(platform), after.ingredients_of(platform), changes, bases)
        for platform, changes in packages.items()
    }
    platforms = platform_changes(before.platforms, after.platforms)
    return [*platforms, *(change for change in across_platforms(found) if change.ingredient != "platform")]


def _packages(before: Environment, new: Mapping[str, Lock]) -> dict[str, PackageChanges]:
    """What became of the packages on each platform of `new` that can be compared: one that `before` has too, or the
    only one where each has only one."""
    old = {lock.platform: lock for lock in locks(before)}
    if len(old) == len(new) == 1:
        (was,), ((platform, now),) = old.values(), new.items()
        return {platform: package_changes(was, now)}
    return {platform: package_changes(old[platform], now) for platform, now in new.items() if platform in old}
