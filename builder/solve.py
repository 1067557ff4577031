"""A request in, a lock out: rattler solves the conda part in process, uv the pip section beside it.

Virtual packages (`__glibc`, `__cuda`, ...) come from `envbuild.toml` or from documented defaults, never from this
machine: a lock must not depend on where it was made.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from envbuild.errors import FetchError, InputError, SolveError
from envbuild.settings import Settings

from .lock import Lock, LockedPackage, without_credentials
from .pip_section import solve_pip
from .report import Reporter
from .spec import EnvironmentSpec

if TYPE_CHECKING:
    from rattler import RepoDataRecord

PLATFORMS = ("linux-64", "linux-aarch64")

DEFAULT_VIRTUAL_PACKAGES = {"__unix": "0", "__linux": "5.10", "__glibc": "2.28"}
"""What most clusters of today have: kernel 5.10, and glibc 2.28 (manylinux_2_28)."""

_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
"""What conda means by `defaults` on Linux."""


def steering(settings: Settings, platform: str) -> dict[str, object]:
    """Everything but the request that decides the solve, without credentials; part of the spec key."""
    return {
        "platform": platform,
        "virtual_packages": _virtual_packages(settings, platform),
        "channels": {name: without_credentials(url) for name, url in sorted(settings.channels.items())},
        "pip": [
            without_credentials(each)
            for each in (settings.pip.index, *settings.pip.extra_indexes, "links", *settings.pip.find_links)
        ],
    }


def solve(spec: EnvironmentSpec, settings: Settings, platform: str, reporter: Reporter) -> Lock:
    """Find the packages that satisfy `spec`.

    Raises:
        SolveError: there are none; the message carries the solver's reason.
        FetchError: a channel or index cannot be reached.
        InputError: `platform` is unknown.
    """
    if platform not in PLATFORMS:
        raise InputError(f"the platform {platform!r} is unknown; known: {', '.join(PLATFORMS)}")
    channels = [url for channel in spec.channels for url in _urls(channel, settings)]
    with reporter.task("lock", None):
        records = asyncio.run(_solve(spec, channels, settings, platform))
        conda = [_locked(record) for record in records]
        pip = solve_pip(spec, _provided(records), settings, platform)
    packages = sorted((*conda, *pip), key=lambda package: (package.manager, package.name))
    return Lock(platform, tuple(without_credentials(url) for url in channels), tuple(packages))


def _virtual_packages(settings: Settings, platform: str) -> dict[str, str]:
    default = {**DEFAULT_VIRTUAL_PACKAGES, "__archspec": "aarch64" if platform.endswith("aarch64") else "x86_64"}
    return {**default, **settings.virtual_packages.get(platform, {})}


def _urls(channel: str, settings: Settings) -> list[str]:
    mapped = settings.channels.get(channel)
    if mapped:
        return [mapped]
    return list(_DEFAULTS) if channel == "defaults" else [channel]


async def _solve(
    spec: EnvironmentSpec, channels: Sequence[str], settings: Settings, platform: str
) -> "list[RepoDataRecord]":
    import rattler
    from rattler.exceptions import GatewayError, SolverError

    virtual = [
        rattler.GenericVirtualPackage(
            rattler.PackageName(name),
            rattler.Version("1" if name == "__archspec" else version),
            rattler.BuildString(version if name == "__archspec" else "0"),
        )
        for name, version in sorted(_virtual_packages(settings, platform).items())
    ]
    try:
        specs = [rattler.MatchSpec(_mapped(each.text, each.channel, settings)) for each in spec.dependencies]
    except Exception as error:  # rattler's parser has its own error types
        raise SolveError(f"{spec.source}: {error}") from None
    gateway = rattler.Gateway(cache_dir=settings.home / "cache" / "repodata")
    try:
        records = await rattler.solve(
            channels,
            specs,
            gateway=gateway,
            platforms=[rattler.Subdir(platform), rattler.Subdir("noarch")],
            virtual_packages=virtual,
        )
    except SolverError as error:
        raise SolveError(_reason(spec, str(error))) from None
    except GatewayError as error:
        raise FetchError(_unreachable(channels, str(error))) from None
    return list(records)


def _mapped(text: str, channel: str, settings: Settings) -> str:
    if channel and channel in settings.channels:
        return f"{settings.channels[channel]}::{text.partition('::')[2]}"
    return text


def _reason(spec: EnvironmentSpec, solver: str) -> str:
    lines = [line.rstrip() for line in solver.splitlines() if line.strip()]
    reason = "\n  ".join(lines) or "the solver gives no reason"
    return f"{spec.source} cannot be satisfied with the channels {', '.join(spec.channels)}:\n  {reason}"


def _unreachable(channels: Sequence[str], message: str) -> str:
    shown = re.sub(r"//[^/@\s]*@", "//", " ".join(message.split()))
    named = next((each for each in channels if without_credentials(each) in shown), ", ".join(channels))
    return (
        f"the channel {without_credentials(named)} cannot be read ({shown}); "
        "check its name, or map it to a URL in envbuild.toml [channels]"
    )


def _locked(record: "RepoDataRecord") -> LockedPackage:
    channel, subdir, _ = str(record.url).rsplit("/", 2)
    if record.sha256 is None:
        raise SolveError(f"the channel {without_credentials(channel)} gives no sha256 for {record.file_name}")
    return LockedPackage(
        manager="conda",
        name=record.name.normalized,
        version=str(record.version),
        url=without_credentials(str(record.url)),
        sha256=record.sha256.hex(),
        md5=record.md5.hex() if record.md5 else "",
        build=str(record.build),
        subdir=subdir,
        channel=channel.rpartition("/")[2],
        depends=tuple(sorted({re.split(r"[ <>=!~\[]", depend)[0] for depend in record.depends})),
    )


def _provided(records: "Sequence[RepoDataRecord]") -> Mapping[str, str]:
    """PyPI name -> version of everything that the conda packages bring; a package without purls by its own name."""
    found = {}
    for record in records:
        purls = [str(purl) for purl in getattr(record, "purls", None) or ()]
        names = [purl.split("/", 1)[1].split("@")[0] for purl in purls if purl.startswith("pkg:pypi/")]
        for name in names or [record.name.normalized]:
            found[name] = str(record.version)
    return found
