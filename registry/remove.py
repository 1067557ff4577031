"""Removing registered versions: not what a tag points at or a recorded run names, unless it is forced."""

from collections.abc import Sequence
from dataclasses import dataclass

from envbuild.errors import InputError, StoreError
from envbuild.settings import Settings

from .environments import check_name, load, not_registered, remove_version
from .gc import would_free
from .index import versions_of
from .marks import RunUse
from .tags import tags_by_version


@dataclass(frozen=True)
class Removal:
    """What was removed."""

    references: tuple[str, ...]
    tags: tuple[str, ...]
    """`NAME:TAG` that pointed at them, and are gone too."""
    size: int | None
    """Bytes that `gc` frees because of it; `None` where nobody can tell, because another record is damaged."""


def remove(settings: Settings, reference: str, uses: Sequence[RunUse], *, force: bool = False) -> Removal:
    """Remove the version that `reference` names, or all versions of a name.

    Raises:
        NotFound: there is none.
        InputError: a tag points at one, or a recorded run names it, and `force` is not given; nothing is removed then.
    """
    name, versions = _versions(settings, reference)
    if not force:
        _refuse_used(settings, name, versions, uses)
    references = tuple(f"{name}:{version}" for version in versions)
    try:
        size: int | None = would_free(settings, references, uses)
    except StoreError:  # nothing is freed before that is mended
        size = None
    tags = tuple(f"{name}:{tag}" for version in versions for tag in remove_version(settings.home, name, version))
    return Removal(references, tags, size)


def _versions(settings: Settings, reference: str) -> tuple[str, list[int]]:
    name, _, version = reference.partition(":")
    known = versions_of(settings.home, check_name(name.partition("@")[0]))
    if name == reference and "@" not in name:
        if not known:
            raise not_registered(settings.home, name)
        return name, known
    if version.isdecimal() and int(version) in known:  # also one whose record is damaged
        return name, [int(version)]
    environment = load(settings.home, reference)
    return environment.name, [environment.version]


def _refuse_used(settings: Settings, name: str, versions: Sequence[int], uses: Sequence[RunUse]) -> None:
    tags = tags_by_version(settings.home, name)
    for version in versions:
        if version in tags:
            many = len(tags[version]) > 1
            raise InputError(
                f"the {'tags' if many else 'tag'} {', '.join(tags[version])} {'point' if many else 'points'} at "
                f"{name}:{version}; move {'them' if many else 'it'}, remove {'each' if many else 'it'} "
                f"(envbuild env untag {name}:{tags[version][0]}), or use --force"
            )
        runs = [use.run for use in uses if (use.name, use.version) == (name, version)]
        if runs:
            more = f" and {len(runs) - 1} more runs" if len(runs) > 1 else ""
            raise InputError(
                f"{name}:{version} is the environment of the run {runs[0]}{more}, which could not be run again; "
                "use --force to remove it all the same"
            )
