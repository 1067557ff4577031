"""What two environments are made of in, what differs between them out: pure functions behind `diff` and `explain`.

The **request** (ingredients of the spec key) says what somebody wanted, the **identity** (ingredients of the
environment id) what came of it. A change is one line that a person understands: `numpy 2.1.0 -> 2.2.0`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from envbuild.builder.lock import Lock, LockedPackage

_NAME = re.compile(r"(?:\S+::)?([A-Za-z0-9_][\w.-]*)(.*)", re.DOTALL)
_PLAIN = {
    "base": "base",
    "layout_version": "layout version",
    "packer_version": "packer version",
    "platform": "platform",
    "prefix": "prefix",
    "lock_file": "lock file",
    "lock": "lock",
    "allowed_scripts": "allowed scripts",
}
_LOCK_NOW = "a lock decides every package; before, it was a request that was solved"
_REQUEST_NOW = "a request that is solved; before, a lock decided every package"
_EXECUTED = "built where its programs can be executed"
_NOT_EXECUTED = "built where its programs cannot be executed"


@dataclass(frozen=True)
class Change:
    """One ingredient that differs."""

    ingredient: str
    """Its name in the record, for instance `channels` or `packages`."""
    text: str
    place: str = ""
    """Where it was written, for instance `environment.yml:5`; empty where that is not known."""
    platform: str = ""
    """The platform that it concerns, or several, as `linux-64, linux-aarch64`; empty where it concerns all."""

    @property
    def line(self) -> str:
        return ": ".join(each for each in (self.place, self.platform, self.text) if each)


@dataclass(frozen=True)
class PackageChanges:
    """What became of the packages; each sorted by manager and name."""

    added: tuple[LockedPackage, ...]
    removed: tuple[LockedPackage, ...]
    changed: tuple[tuple[LockedPackage, LockedPackage], ...]
    """Before and after."""

    @property
    def lines(self) -> list[str]:
        """Changed packages first: they are what people look for; among them those that pip brings now, or conda."""
        removed = {package.name: package for package in self.removed}
        moved = {after.name: (removed[after.name], after) for after in self.added if after.name in removed}
        return [
            *(_changed_line(before, after) for before, after in self.changed),
            *(
                f"{name} {before.version} of {before.manager} -> {after.version} of {after.manager}"
                for name, (before, after) in sorted(moved.items())
            ),
            *(f"+ {package.name} {package.version}" for package in self.added if package.name not in moved),
            *(f"- {package.name} {package.version}" for package in self.removed if package.name not in moved),
        ]


def package_changes(before: Lock, after: Lock) -> PackageChanges:
    """Compare two locks, package by package."""
    old = {(package.manager, package.name): package for package in before.packages}
    new = {(package.manager, package.name): package for package in after.packages}
    return PackageChanges(
        added=tuple(new[key] for key in sorted(new.keys() - old.keys())),
        removed=tuple(old[key] for key in sorted(old.keys() - new.keys())),
        changed=tuple(
            (old[key], new[key]) for key in sorted(old.keys() & new.keys()) if old[key].sha256 != new[key].sha256
        ),
    )


def request_changes(
    before: Mapping[str, Any], after: Mapping[str, Any], places: Mapping[tuple[str, str], str] | None = None
) -> list[Change]:
    """What makes `after` another request than `before` (ingredients of `spec_key`)."""
    places = places or {}
    if before and after and ("locks" in before) != ("locks" in after):
        return [Change("locks", _LOCK_NOW if "locks" in after else _REQUEST_NOW)]
    found: list[Change] = []
    for ingredient in sorted({*before, *after}, key=_order):
        old, new = before.get(ingredient), after.get(ingredient)
        if old == new:
            continue
        if ingredient == "channels" and old and new:
            found += _channel_changes(old, new, places)
        elif ingredient in ("dependencies", "pip", "constraints"):
            found += _line_changes(ingredient, old or (), new or (), places)
        elif ingredient == "steering":
            found += _steering_changes(old or {}, new or {})
        elif ingredient == "locks":
            found += _lock_changes(old or {}, new or {})
        elif isinstance(old or {}, dict) and isinstance(new or {}, dict):
            found += _table_changes(ingredient, old or {}, new or {}, places)
        else:
            found.append(Change(ingredient, f"{_PLAIN.get(ingredient, ingredient)} {_shown(old)} -> {_shown(new)}"))
    return found


def identity_changes(
    before: Mapping[str, Any], after: Mapping[str, Any], packages: PackageChanges, bases: tuple[str, str]
) -> list[Change]:
    """What makes `after` another environment than `before` (ingredients of `environment_id`).

    `bases` are the names of the two bases; their digests alone would tell nobody anything.
    """
    found = [Change("packages", line) for line in packages.lines]
    for ingredient in sorted({*before, *after} - {"packages"}, key=_order):
        old, new = before.get(ingredient), after.get(ingredient)
        if old == new:
            continue
        if ingredient == "base":
            found.append(Change("base", _base_line(bases, str(old), str(new))))
        elif ingredient == "executed":
            found.append(Change("executed", _EXECUTED if new is None else _NOT_EXECUTED))
        elif isinstance(old or {}, dict) and isinstance(new or {}, dict):
            found += _table_changes(ingredient, old or {}, new or {}, {})
        else:
            found.append(Change(ingredient, f"{_PLAIN.get(ingredient, ingredient)} {_shown(old)} -> {_shown(new)}"))
    return found


def platform_changes(before: Sequence[str], after: Sequence[str]) -> list[Change]:
    """What makes `after` other platforms than `before`."""
    if len(before) == len(after) == 1 and before != after:
        return [Change("platform", f"platform {before[0]} -> {after[0]}")]
    if sorted(before) == sorted(after) and list(before) != list(after):
        return [Change("platform", f"platform order changed: {', '.join(before)} -> {', '.join(after)}")]
    return [
        *(Change("platform", f"+ platform {each}") for each in after if each not in before),
        *(Change("platform", f"- platform {each}") for each in before if each not in after),
    ]


def across_platforms(changes: Mapping[str, Sequence[Change]]) -> list[Change]:
    """The changes of every platform as one list: what is the same on all of them once, the rest with its platform."""
    concerned: dict[Change, list[str]] = {}
    for platform, found in changes.items():
        for change in found:
            concerned.setdefault(change, []).append(platform)
    return [
        change if len(platforms) == len(changes) else replace(change, platform=", ".join(platforms))
        for change, platforms in concerned.items()
    ]


def summary(changes: Sequence[Change], most: int = 3) -> str:
    """The changes in one line."""
    shown = ", ".join(change.line for change in changes[:most])
    left = len(changes) - most
    return f"{shown} and {left} more change{'s' if left > 1 else ''}" if left > 0 else shown


def _channel_changes(old: Sequence[str], new: Sequence[str], places: Mapping[tuple[str, str], str]) -> list[Change]:
    if sorted(old) == sorted(new):
        place = places.get(("channels", new[0]), "")
        return [Change("channels", f"channel order changed: {', '.join(old)} -> {', '.join(new)}", place)]
    added = [
        Change("channels", f"+ channel {each}", places.get(("channels", each), "")) for each in new if each not in old
    ]
    return [*added, *(Change("channels", f"- channel {each}") for each in old if each not in new)]


def _line_changes(
    ingredient: str, old: Sequence[str], new: Sequence[str], places: Mapping[tuple[str, str], str]
) -> list[Change]:
    """Lines that begin with a package's name; one name stands on one line."""
    before, after = _by_name(old), _by_name(new)
    found = []
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        place = places.get((ingredient, now), "") if now else ""
        if was and now:
            text = f"{name} {_rest(was)} -> {_rest(now)}"
        else:
            text = f"+ {now}" if now else f"- {was}"
        found.append(Change(ingredient, text, place))
    return found or [Change(ingredient, f"the order of the {ingredient} options changed")]


def _by_name(lines: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        match = _NAME.fullmatch(line)
        name = match[1] if match and "://" not in line else line
        found[line if name in found else name] = line  # one name on two lines: with two markers
    return found


def _rest(line: str) -> str:
    match = _NAME.fullmatch(line)
    rest = match[2].strip() if match else line
    channel = line.partition("::")[0] + "::" if "::" in line else ""
    return f"{channel}{rest}" or "any version"


def _lock_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[Change]:
    both = [each for each in new if each in old and old[each] != new[each]]
    return [*platform_changes(tuple(old), tuple(new)), *(Change("locks", "another lock", "", each) for each in both)]


def _steering_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    found: list[Change] = []
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        if name == "platforms":
            found += platform_changes(was or (), now or ())
        elif name == "virtual_packages":
            found += _virtual_package_changes(was or {}, now or {})
        elif name == "pip":
            found += _index_changes(was or (), now or ())
        elif isinstance(was or {}, dict) and isinstance(now or {}, dict):
            found += _table_changes(name, was or {}, now or {}, {})
        else:
            found.append(Change(name, f"{_PLAIN.get(name, f'the setting {name}')} {_shown(was)} -> {_shown(now)}"))
    return [replace(change, ingredient="steering") for change in found]


def _virtual_package_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Those of the platforms that both have: what a platform that came brings along is no change."""
    found = {each: _table_changes("virtual_packages", old[each], new[each], {}) for each in new if each in old}
    return across_platforms(found)


def _index_changes(old: Sequence[str], new: Sequence[str]) -> list[Change]:
    """Of `[pip]`: the index, the further ones, the word `links`, and where else files are (`steering`)."""
    was, now = _indexes(old), _indexes(new)
    return [Change("pip", f"{name} {was[name]} -> {now[name]}") for name in was if was[name] != now[name]]


def _indexes(setting: Sequence[str]) -> dict[str, str]:
    index, *further = setting or [""]
    middle = further.index("links") if "links" in further else len(further)
    return {
        "pip index": _shown(index),
        "pip extra indexes": _shown(further[:middle]),
        "pip find-links": _shown(further[middle + 1 :]),
    }


def _table_changes(
    ingredient: str, old: Mapping[str, Any], new: Mapping[str, Any], places: Mapping[tuple[str, str], str]
) -> list[Change]:
    what = {
        "variables": "variable",
        "virtual_packages": "virtual package",
        "channels": "channel mapping",
        "contents": "the content of",
        "included": "the content of",
    }.get(ingredient, ingredient)
    found = []
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        place = places.get((ingredient, name), "")
        if what == "the content of" and was and now:
            text = f"{what} {name} changed"
        elif was is None or now is None:
            text = f"{'+' if was is None else '-'} {what} {name} {_shown(now if was is None else was)}"
        else:
            text = f"{what} {name} {_shown(was)} -> {_shown(now)}"
        found.append(Change(ingredient, text, place))
    return found


def _base_line(bases: tuple[str, str], old: str, new: str) -> str:
    if bases[0] != bases[1]:
        return f"base {bases[0]} -> {bases[1]}"
    return f"base {bases[0]} {_shown(old)} -> {_shown(new)}"


def _changed_line(before: LockedPackage, after: LockedPackage) -> str:
    if before.version != after.version:
        return f"{after.name} {before.version} -> {after.version}"
    if before.build != after.build:
        return f"{after.name} {after.version} build {before.build} -> {after.build}"
    if before.channel != after.channel:
        return f"{after.name} {after.version} from {before.channel} -> from {after.channel}"
    return f"{after.name} {after.version} sha256 {before.sha256[:12]} -> {after.sha256[:12]}"


def _order(ingredient: str) -> tuple[int, str]:
    """What a user wrote before what envbuild adds."""
    first = ("channels", "dependencies", "pip", "constraints", "variables", "base")
    return (first.index(ingredient) if ingredient in first else len(first), ingredient)


def _shown(value: object) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    text = str(value)
    return text[:19] if text.startswith("sha256:") else text
