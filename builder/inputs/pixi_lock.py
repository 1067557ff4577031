"""`pixi.lock` in, the lock of one of its environments out; rattler's own reader knows every version of the format."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.errors import LockError

from ..lock import Lock, LockedPackage, checked_package, without_credentials

if TYPE_CHECKING:
    from rattler.lock import Environment

FILE_NAME = "pixi.lock"


def is_pixi_lock(path: Path) -> bool:
    """Whether `path` is a lock of pixi, by its name."""
    return path.name == FILE_NAME or path.name.endswith(f".{FILE_NAME}")


def read_pixi_lock(path: Path, platform: str, environment: str = "default") -> Lock:
    """The packages of `environment` for `platform`.

    Raises:
        LockError: the file is damaged, has no such environment or platform, or a package in it has no wheel or hash.
    """
    from rattler import LockFile

    try:
        found = LockFile.from_path(path)
        chosen = found.environment(environment)
        known = sorted(name for name, _ in found.environments())
    except Exception as error:  # rattler raises several kinds
        raise LockError(f"{path} is no lock of pixi that can be read: {' '.join(str(error).split())}") from None
    if chosen is None:
        raise LockError(f"{path} has no environment {environment!r}; it has {', '.join(known) or 'none'}")
    return _lock(path, chosen, platform)


def _lock(path: Path, environment: "Environment", platform: str) -> Lock:
    from rattler.lock import CondaLockedBinaryPackage, PypiLockedPackage

    by_platform = {str(each.subdir): each for each in environment.platforms()}
    if platform not in by_platform:
        raise LockError(
            f"{path} locks nothing for {platform}; it has {', '.join(sorted(by_platform)) or 'no platform'}"
        )
    packages = []
    for package in environment.packages(by_platform[platform]) or ():
        try:
            if isinstance(package, CondaLockedBinaryPackage):
                packages.append(_conda(package, path.absolute().parent))
            elif isinstance(package, PypiLockedPackage):
                packages.append(_wheel(package, path.absolute().parent))
            else:
                raise ValueError(f"{package.name} is built from source by pixi; publish it to a channel first")
        except ValueError as error:
            raise LockError(f"{path}: {error}") from None
    channels = tuple(str(_channel_url(each)) for each in environment.channels())
    return Lock(platform, channels, tuple(sorted(packages, key=lambda each: (each.manager, each.name))))


def _channel_url(channel: Any) -> str:
    """The URL is shown by the text of rattler's value alone."""
    match = re.search(r'url="([^"]*)"', repr(channel))
    return without_credentials(match[1].rstrip("/")) if match else str(channel)


def _absolute(location: str, folder: Path) -> str:
    """A lock of pixi names files of this machine by their paths."""
    return location if "://" in location else (folder / location).resolve().as_uri()


def _hash(package: Any, algorithm: str) -> str:
    """Hex; empty where the lock gives none, of which rattler makes hashes that cannot be read."""
    try:
        found = getattr(package.hashes, algorithm)
    except AttributeError:
        return ""
    return found.hex() if found else ""


def _conda(package: Any, folder: Path) -> LockedPackage:
    record = package.package_record
    return checked_package(
        manager="conda",
        name=record.name.normalized,
        version=str(record.version),
        url=_absolute(package.location, folder),
        sha256=_hash(package, "sha256"),
        md5=_hash(package, "md5"),
        depends=tuple(sorted({re.split(r"[ <>=!~\[]", depend)[0] for depend in record.depends})),
    )


def _wheel(package: Any, folder: Path) -> LockedPackage:
    url = _absolute(package.location.partition("#")[0], folder)
    if not url.endswith(".whl"):
        raise ValueError(
            f"{package.name} comes without a wheel ({without_credentials(url)}); pin a version that has one"
        )
    return checked_package(
        manager="pip",
        name=package.name,
        version=str(package.version),
        url=url,
        sha256=_hash(package, "sha256"),
        depends=tuple(sorted({re.split(r"[ <>=!~\[;(]", each)[0].lower() for each in package.requires_dist})),
    )
