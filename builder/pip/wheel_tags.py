"""Which of a project's wheels a platform takes, the best one first (PEP 425, PEP 600)."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..platforms import find_platform

if TYPE_CHECKING:
    from packaging.tags import Tag

_OFFERED = (17, 28, *range(31, 41))
"""The minor versions of glibc that uv knows as platforms."""
_OLDEST_GLIBC = 5
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


def uv_platform(platform: str, machines: Mapping[str, str]) -> str:
    """uv's name of `platform` with the glibc that `machines` (virtual packages) have."""
    minor = _glibc_minor(machines)
    fitting = [each for each in _OFFERED if each <= minor] or [_OFFERED[0]]
    return f"{find_platform(platform).machine}-manylinux_2_{fitting[-1]}"


def best_wheel(names: Iterable[str], python: str, platform: str, machines: Mapping[str, str]) -> str | None:
    """The file name that fits best; `None` when no wheel fits. `python` is a full version."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    ranks = {tag: rank for rank, tag in enumerate(supported_tags(python, platform, machines))}
    found: list[tuple[int, tuple[int, str], str]] = []
    for name in names:
        try:
            _, _, build, tags = parse_wheel_filename(name)
        except InvalidWheelFilename:
            continue
        fitting = [ranks[tag] for tag in tags if tag in ranks]
        if fitting:
            number, rest = build or (-1, "")
            found.append((min(fitting), (-number, rest), name))
    return min(found)[2] if found else None


def supported_tags(python: str, platform: str, machines: Mapping[str, str]) -> "list[Tag]":
    """The tags that the target takes, the best one first."""
    from packaging.tags import compatible_tags, cpython_tags

    machine, newest = find_platform(platform).machine, _glibc_minor(machines)
    platforms = []
    for minor in range(newest, _OLDEST_GLIBC - 1, -1):
        platforms.append(f"manylinux_2_{minor}_{machine}")
        if minor in _LEGACY:
            platforms.append(f"{_LEGACY[minor]}_{machine}")
    platforms.append(f"linux_{machine}")
    major, minor_version = (int(part) for part in python.split(".")[:2])
    version = (major, minor_version)
    return [
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, f"cp{major}{minor_version}", platforms),
    ]


def _glibc_minor(machines: Mapping[str, str]) -> int:
    parts = machines.get("__glibc", "").split(".")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else _OFFERED[1]
