"""The platforms that images are built for, by conda's names, and what others call them."""

import platform
from dataclasses import dataclass

from envbuild.errors import InputError


@dataclass(frozen=True)
class Platform:
    """One platform."""

    subdir: str
    """conda's name."""
    machine: str
    """`uname -m`."""
    architecture: str
    """Of OCI images (Go's names), and of Debian packages."""
    wheels: str
    """uv's name: the wheels that the embedded bases can load."""
    archspec: str


PLATFORMS = {
    each.subdir: each
    for each in (
        Platform("linux-64", "x86_64", "amd64", "x86_64-manylinux_2_28", "x86_64"),
        Platform("linux-aarch64", "aarch64", "arm64", "aarch64-manylinux_2_28", "aarch64"),
    )
}


def find_platform(subdir: str) -> Platform:
    """The platform that conda calls `subdir`.

    Raises:
        InputError: images are not built for it.
    """
    if subdir not in PLATFORMS:
        raise InputError(f"the platform {subdir!r} is unknown; known: {', '.join(PLATFORMS)}")
    return PLATFORMS[subdir]


def can_execute(subdir: str) -> bool:
    """Whether programs of `subdir` run on this machine. Emulation is not used: it would be slow, and not the same."""
    return platform.machine() == find_platform(subdir).machine
