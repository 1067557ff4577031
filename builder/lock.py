"""The lock: every package with URL and sha256. Kept as a `conda-lock.yml` (version 1) that conda-lock itself reads.

Written through conda-lock's own models; read back with a plain YAML parser, because importing conda-lock takes half a
second and reading happens on every command. What is read is checked: a lock may come from anywhere.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import yaml

from envbuild.errors import LockError

from . import atomic

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][\w.+!-]*\.(conda|tar\.bz2|whl)")
_USER = re.compile(r"^([a-zA-Z][\w+.-]*://)[^/]*@")
_SSH = re.compile(r"^((?:git\+)?ssh://[^/:@]+)(?::[^/]*)?@")
_TOKEN = re.compile(r"^([a-zA-Z][\w+.-]*://[^/]*)/t/[^/]+/")
_MARKERS = (b"\npackage:", b"\nmetadata:")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class BuildRequirement:
    """A wheel that a build had at hand."""

    name: str
    version: str
    url: str
    sha256: str


@dataclass(frozen=True)
class GitDescription:
    """What git knows of a source whose version is made of that (`inputs/git_version.py`).

    Raises:
        TypeError: something is of the wrong kind.
    """

    tag: str
    """The newest tag before it; empty where there is none."""
    distance: int
    """Commits since the tag, or all of them."""
    commit: str
    date: str
    """When it was committed, ISO 8601."""
    changed: bool = False
    """Whether files of a folder were other than in the commit."""

    def __post_init__(self) -> None:
        texts = (self.tag, self.commit, self.date)
        if not all(isinstance(each, str) and min(each, default=" ") >= " " for each in texts):
            raise TypeError("a text of what git knows of a source")
        if type(self.distance) is not int:
            raise TypeError("the distance from a tag")


@dataclass(frozen=True)
class Built:
    """How a wheel came about that no index has."""

    wheel: str
    """Its file name."""
    source_sha256: str
    """Hex, of what `url` names: a file, or a folder's content."""
    requires: tuple[BuildRequirement, ...] = ()
    subdirectory: str = ""
    described: GitDescription | None = None
    """What its version was made of, where that was git."""

    @property
    def document(self) -> dict[str, Any]:
        """As a record has it; most have no description, and what is written of them stays what it was."""
        return {name: value for name, value in asdict(self).items() if name != "described" or value}

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> "Built":
        """What `document` says.

        Raises:
            KeyError, TypeError: something is missing, or of the wrong kind.
        """
        described = said.get("described")
        return cls(
            str(said["wheel"]),
            str(said["source_sha256"]),
            tuple(BuildRequirement(**each) for each in said.get("requires", ())),
            str(said.get("subdirectory", "")),
            GitDescription(**described) if described else None,
        )


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
    built: Built | None = None
    """Of a wheel that was built from source; then `url` names the source, and `sha256` is the wheel's."""

    @property
    def filename(self) -> str:
        """The last part of the URL."""
        if self.built:
            return self.built.wheel
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


@dataclass(frozen=True)
class Lock:
    """Every package of one platform, sorted by manager and name."""

    platform: str
    channels: tuple[str, ...]
    packages: tuple[LockedPackage, ...]
    dropped: tuple[str, ...] = ()
    """What was asked for and let go, because no channel offers it any more (`--loosen`), as sentences."""


def lock_digest(lock: Lock) -> str:
    """`sha256:<hex>` of the packages, whatever the file around them looks like."""
    packages = []
    for package in lock.packages:
        packages.append({**asdict(package), "built": package.built.document if package.built else None})
        if package.built is None:  # most are not, and their digests stay what they were
            del packages[-1]["built"]
    text = json.dumps(packages, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def is_lock_file(path: Path) -> bool:
    """Whether `path` is a conda-lock.yml rather than an environment file."""
    try:
        data = b"\n" + path.read_bytes()
    except OSError:
        return False
    return all(marker in data for marker in _MARKERS)


def locks_digest(locks: Sequence[Lock]) -> str:
    """`lock_digest` of one lock; of several platforms' locks the digest of them all."""
    if len(locks) == 1:
        return lock_digest(locks[0])
    text = json.dumps({lock.platform: lock_digest(lock) for lock in locks}, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def write_locks(locks: Sequence[Lock], path: Path) -> None:
    """Write the locks of one or more platforms as one conda-lock.yml, without credentials that URLs may carry."""
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
            hash=HashModel(md5=package.md5, sha256=package.built.source_sha256 if package.built else package.sha256),
            build=package.build or None,
            categories={"main"},
        )
        for lock in locks
        for package in lock.packages
    ]
    content = Lockfile(
        package=packages,
        metadata=LockMeta(
            content_hash={lock.platform: lock_digest(lock).removeprefix("sha256:") for lock in locks},
            channels=[Channel.from_string(without_credentials(channel)) for channel in locks[0].channels],
            platforms=[lock.platform for lock in locks],
            sources=["spec.yml"],
            custom_metadata=_extras(locks) or None,
        ),
    )
    with atomic.new_file(path) as temporary:
        write_conda_lock_file(content, temporary, metadata_choices=None, include_help_text=False)


def _extras(locks: Sequence[Lock]) -> dict[str, str]:
    """What only we know about the locks, in the place that the format has for it: texts by name."""
    found = {}
    for lock in locks:
        built = {
            package.name: {"sha256": package.sha256, **package.built.document}
            for package in lock.packages
            if package.built
        }
        said = {"dropped": lock.dropped, "built": built}
        if any(said.values()):
            found[f"envbuild:{lock.platform}"] = json.dumps({key: value for key, value in said.items() if value})
    return found


def read_lock(path: Path, platform: str = "linux-64") -> Lock:
    """Read the packages of `platform` from a conda-lock.yml; see `read_locks`."""
    return read_locks(path, (platform,))[0]


def read_locks(path: Path, platforms: Sequence[str] = ()) -> tuple[Lock, ...]:
    """Read the packages of each of `platforms` (none: of all that it has) from a conda-lock.yml.

    Of a lock with categories (`main`, `dev`, ...) the packages of `main` are read.

    Raises:
        LockError: it is damaged, of another version, or has no packages for a platform.
    """
    document = _document(path)
    try:
        entries = [each for each in document["package"] if each.get("category", "main") == "main"]
        channels = tuple(without_credentials(str(each["url"])) for each in document["metadata"]["channels"])
        known = sorted({str(each["platform"]) for each in entries})
        locks = []
        for platform in platforms or known:
            extras = json.loads((document["metadata"].get("custom_metadata") or {}).get(f"envbuild:{platform}", "{}"))
            built = extras.get("built", {})
            packages = {_package(each, built) for each in entries if each["platform"] == platform}
            ordered = tuple(sorted(packages, key=lambda each: (each.manager, each.name)))
            locks.append(Lock(platform, channels, ordered, tuple(extras.get("dropped", ()))))
    except KeyError as error:
        raise LockError(f"{path} is not a complete conda-lock file: {error} is missing") from None
    except (TypeError, AttributeError) as error:
        raise LockError(
            f"{path} is not a complete conda-lock file: something in it is of the wrong kind ({error})"
        ) from None
    except ValueError as error:
        raise LockError(f"{path}: {error}") from None
    for lock in locks:
        _require_whole(lock, path, known)
    return tuple(locks)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_bytes(), Loader=_LOADER)
    except OSError as error:
        raise LockError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a date or number that is none
        raise LockError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or document.get("version") != 1:
        raise LockError(f"{path} is not a conda-lock file of version 1; lock it again with conda-lock 1 to 4")
    return document


def _require_whole(lock: Lock, path: Path, known: Sequence[str]) -> None:
    if not lock.packages:
        has = ", ".join(known) or "no platform at all"
        raise LockError(f"{path} locks nothing for {lock.platform}; it has {has}")
    for one, two in zip(lock.packages, lock.packages[1:], strict=False):
        if (one.manager, one.name) == (two.manager, two.name):
            raise LockError(f"{path} has {one.name} twice for {lock.platform}; lock it again")


def without_user(url: str) -> str:
    """`url` without `user:password@`; the user of ssh is part of the address, and is no secret."""
    return _SSH.sub(r"\1@", url) if _SSH.match(url) else _USER.sub(r"\1", url)


def without_credentials(url: str) -> str:
    """`url` without `user:password@` and without the `/t/TOKEN` of anaconda.org."""
    return _TOKEN.sub(r"\1/", without_user(url))


def checked_package(
    manager: str, name: str, version: str, url: str, sha256: str, md5: str = "", depends: tuple[str, ...] = ()
) -> LockedPackage:
    """A package of a lock that somebody else wrote; what a conda URL says about it is filled in.

    Credentials in its URL are left out: a lock goes into images and registries, and ours come from elsewhere.

    Raises:
        ValueError: with a sentence: no sha256, another scheme, or a file that is no package.
    """
    if manager not in ("conda", "pip"):
        raise ValueError(f"{name} has the manager {manager!r}; expected conda or pip")
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{name} has no sha256; lock again, so that what is downloaded can be verified")
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise ValueError(f"{name} has the URL {without_credentials(url)!r}; expected http, https or file")
    package = LockedPackage(
        "conda" if manager == "conda" else "pip", name, version, without_credentials(url), sha256, md5, depends=depends
    )
    if not _FILE_NAME.fullmatch(package.filename):
        raise ValueError(f"{name} has the file name {package.filename!r}; expected a .conda, .tar.bz2 or .whl file")
    return package if manager == "pip" else _with_build(package)


def _package(entry: Mapping[str, Any], built: Mapping[str, Any]) -> LockedPackage:
    if entry["manager"] == "pip" and str(entry["name"]) in built:
        return _built_package(entry, built[str(entry["name"])])
    return checked_package(
        manager=entry["manager"],
        name=str(entry["name"]),
        version=str(entry["version"]),
        url=str(entry["url"]),
        sha256=str(entry["hash"].get("sha256") or ""),
        md5=str(entry["hash"].get("md5") or ""),
        depends=tuple(sorted(str(each) for each in entry.get("dependencies") or ())),
    )


def _built_package(entry: Mapping[str, Any], said: Mapping[str, Any]) -> LockedPackage:
    name, wheel, sha256 = str(entry["name"]), str(said["wheel"]), str(said["sha256"])
    source_sha256 = str(entry["hash"]["sha256"])
    if not _FILE_NAME.fullmatch(wheel) or not wheel.endswith(".whl"):
        raise ValueError(f"{name} was built as {wheel!r}; expected the file name of a wheel")
    if not _SHA256.fullmatch(sha256) or not _SHA256.fullmatch(source_sha256):
        raise ValueError(f"{name} has no sha256; lock again, so that what is built can be verified")
    built = Built.read({**said, "source_sha256": source_sha256})
    requires = [checked_package("pip", each.name, each.version, each.url, each.sha256) for each in built.requires]
    built = replace(
        built,
        requires=tuple(BuildRequirement(each.name, each.version, each.url, each.sha256) for each in requires),
    )
    if ".." in built.subdirectory.split("/") or built.subdirectory.startswith("/"):
        raise ValueError(f"{name} was built in {built.subdirectory!r}, which leads out of its source; refused")
    depends = tuple(sorted(str(each) for each in entry.get("dependencies") or ()))
    url = without_credentials(str(entry["url"]))
    return LockedPackage("pip", name, str(entry["version"]), url, sha256, depends=depends, built=built)


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
