"""The lock: every package with URL and sha256. Kept as a `conda-lock.yml` (version 1) that conda-lock itself reads.

Written through conda-lock's own models; read back with a plain YAML parser, because importing conda-lock takes half a
second and reading happens on every command. What is read is checked: a lock may come from anywhere.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

import yaml

from envbuild.errors import LockError

from . import atomic

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][\w.+!-]*\.(conda|tar\.bz2|whl)")
_MARKERS = (b"\npackage:", b"\nmetadata:")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class LockedPackage:
    """One package, exactly."""

    manager: Literal["conda", "pip"]
    name: str
    version: str
    url: str
    sha256: str
    """Hex."""
    md5: str = ""
    build: str = ""
    subdir: str = ""
    channel: str = ""
    depends: tuple[str, ...] = ()
    """Names of what it needs."""

    @property
    def filename(self) -> str:
        """The last part of the URL."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


@dataclass(frozen=True)
class Lock:
    """Every package of one platform, sorted by manager and name."""

    platform: str
    channels: tuple[str, ...]
    packages: tuple[LockedPackage, ...]


def lock_digest(lock: Lock) -> str:
    """`sha256:<hex>` of the packages, whatever the file around them looks like."""
    text = json.dumps(asdict(lock)["packages"], sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def is_lock_file(path: Path) -> bool:
    """Whether `path` is a conda-lock.yml rather than an environment file."""
    try:
        data = b"\n" + path.read_bytes()
    except OSError:
        return False
    return all(marker in data for marker in _MARKERS)


def write_lock(lock: Lock, path: Path) -> None:
    """Write `lock` as conda-lock.yml, without the credentials that URLs may carry."""
    from conda_lock.lockfile import write_conda_lock_file
    from conda_lock.lockfile.v2prelim.models import HashModel, LockedDependency, Lockfile, LockMeta
    from conda_lock.models.channel import Channel

    packages = [
        LockedDependency(
            name=package.name,
            version=package.version,
            manager=package.manager,
            platform=lock.platform,
            dependencies=dict.fromkeys(package.depends, "*"),
            url=without_credentials(package.url),
            hash=HashModel(md5=package.md5, sha256=package.sha256),
            build=package.build or None,
            categories={"main"},
        )
        for package in lock.packages
    ]
    content = Lockfile(
        package=packages,
        metadata=LockMeta(
            content_hash={lock.platform: lock_digest(lock).removeprefix("sha256:")},
            channels=[Channel.from_string(without_credentials(channel)) for channel in lock.channels],
            platforms=[lock.platform],
            sources=["spec.yml"],
        ),
    )
    with atomic.new_file(path) as temporary:
        write_conda_lock_file(content, temporary, metadata_choices=None, include_help_text=False)


def read_lock(path: Path, platform: str = "linux-64") -> Lock:
    """Read the packages of `platform` from a conda-lock.yml.

    Raises:
        LockError: it is damaged, of another version, or has no packages for `platform`.
    """
    try:
        document = yaml.load(path.read_bytes(), Loader=_LOADER)
    except OSError as error:
        raise LockError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a date or number that is none
        raise LockError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or document.get("version") != 1:
        raise LockError(f"{path} is not a conda-lock file of version 1; lock it again with conda-lock 1 to 4")
    try:
        entries = [each for each in document["package"] if each["platform"] == platform]
        channels = tuple(str(each["url"]) for each in document["metadata"]["channels"])
        packages = tuple(sorted((_package(each) for each in entries), key=lambda each: (each.manager, each.name)))
    except (KeyError, TypeError, AttributeError) as error:
        raise LockError(f"{path} is not a complete conda-lock file: {error} is missing or of the wrong kind") from None
    except ValueError as error:
        raise LockError(f"{path}: {error}") from None
    if not packages:
        known = ", ".join(sorted({str(each["platform"]) for each in document["package"]})) or "no platform at all"
        raise LockError(f"{path} locks nothing for {platform}; it has {known}")
    return Lock(platform, channels, packages)


def without_credentials(url: str) -> str:
    """`url` without `user:password@` and without the `/t/TOKEN` of anaconda.org."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    path = re.sub(r"^/t/[^/]+/", "/", parts.path)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, parts.query, parts.fragment))


def _package(entry: Mapping[str, Any]) -> LockedPackage:
    manager, name, url = entry["manager"], str(entry["name"]), str(entry["url"])
    hashes = entry["hash"]
    sha256 = str(hashes.get("sha256") or "")
    if manager not in ("conda", "pip"):
        raise ValueError(f"{name} has the manager {manager!r}; expected conda or pip")
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{name} has no sha256; lock again, so that what is downloaded can be verified")
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise ValueError(f"{name} has the URL {url!r}; expected http, https or file")
    package = LockedPackage(
        manager=manager,
        name=name,
        version=str(entry["version"]),
        url=url,
        sha256=sha256,
        md5=str(hashes.get("md5") or ""),
        depends=tuple(sorted(str(each) for each in entry.get("dependencies") or ())),
    )
    if not _FILE_NAME.fullmatch(package.filename):
        raise ValueError(f"{name} has the file name {package.filename!r}; expected a .conda, .tar.bz2 or .whl file")
    return package if manager == "pip" else _with_build(package)


def _with_build(package: LockedPackage) -> LockedPackage:
    """Fill in what a conda URL says: `CHANNEL/SUBDIR/NAME-VERSION-BUILD.conda` (conda's package naming)."""
    channel, subdir, _ = package.url.rsplit("/", 2)
    stem = re.sub(r"\.(conda|tar\.bz2)$", "", package.filename)
    return LockedPackage(
        **{
            **package.__dict__,
            "build": stem.rpartition("-")[2],
            "subdir": subdir,
            "channel": channel.rpartition("/")[2],
        }
    )
