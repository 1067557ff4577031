"""A request in, a lock out: rattler solves the conda part in process, uv the pip section beside it.

Virtual packages (`__glibc`, `__cuda`, ...) come from the request, from `envbuild.toml` or from documented defaults,
never from this machine: a lock must not depend on where it was made.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from envbuild.errors import FetchError, SolveError
from envbuild.settings import Settings

from ..bases.base import Base
from ..fetching.credentials import Credentials, redacted
from ..lock import Lock, LockedPackage, without_credentials, without_user
from ..pip.pip_section import solve_pip
from ..pip.uv import Target, notes
from ..pip.workshop import Workshop
from ..report import Reporter
from ..spec import CondaDependency, EnvironmentSpec
from ..steering import virtual_packages
from .channels import channel_urls, open_gateway
from .offered import Gone, find_gone, loosen, sentence

if TYPE_CHECKING:
    from rattler import Gateway, GenericVirtualPackage, RepoDataRecord

_PYPI_NAMES = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "py-opencv": "opencv-python",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "tensorflow-base": "tensorflow",
}
"""Of packages that carry no purls and have another name on PyPI."""

_REFUSED = re.compile(r"\b40[13]\b")
_EXAMPLES = {"__cuda": "12.4", "__glibc": "2.36", "__linux": "6.1"}


def solve(
    spec: EnvironmentSpec, settings: Settings, platform: str, reporter: Reporter, find_base: Callable[[], Base]
) -> Lock:
    """Find the packages that satisfy `spec`; the base is asked for when pip must build something on it.

    Raises:
        SolveError: there are none; the message carries the solver's reason, or everything that is not offered.
        FetchError: a channel or index cannot be reached.
    """
    channels = [url for channel in spec.channels for url in channel_urls(channel, settings)]
    with reporter.task("lock", None):
        records, dropped = asyncio.run(_Conda(spec, channels, settings, platform).solve())
        for each in dropped:
            reporter.say(each)
        conda = [_locked(record) for record in records]
        python = next((package.version for package in conda if package.name == "python"), "")
        target = Target(python, platform, virtual_packages(settings, platform, spec))
        workshop = Workshop(conda, find_base, target, settings, reporter)
        for note in notes(settings) if spec.pip else ():
            reporter.say(note)
        pip = solve_pip(spec, _provided(records), settings, workshop) if spec.pip else []
    packages = sorted((*conda, *pip), key=lambda package: (package.manager, package.name))
    return Lock(platform, tuple(without_credentials(url) for url in channels), tuple(packages), dropped)


class _Conda:
    """The conda part of one solve."""

    def __init__(self, spec: EnvironmentSpec, channels: Sequence[str], settings: Settings, platform: str) -> None:
        self._spec = spec
        self._channels = channels
        self._settings = settings
        self._platform = platform

    async def solve(self) -> "tuple[list[RepoDataRecord], tuple[str, ...]]":
        """The records that satisfy the request, and what had to be dropped of it."""
        from rattler.exceptions import GatewayError

        self._refuse_unreadable()
        credentials = Credentials(self._settings)
        try:
            return await self._solve(credentials)
        except GatewayError as error:
            if not (_REFUSED.search(str(error)) and credentials.ask_keyring(*self._all_channels())):
                raise FetchError(_unreachable(self._all_channels(), str(error))) from None
        try:
            return await self._solve(credentials)
        except GatewayError as error:
            raise FetchError(_unreachable(self._all_channels(), str(error))) from None

    async def _solve(self, credentials: Credentials) -> "tuple[list[RepoDataRecord], tuple[str, ...]]":
        dependencies: tuple[CondaDependency, ...] = self._spec.dependencies
        dropped: tuple[str, ...] = ()
        with open_gateway(self._settings, credentials) as gateway:
            if self._spec.loosen:
                gone = await self._gone(dependencies, gateway)
                dependencies, dropped = loosen(dependencies, gone, self._spec.loosen)
            return await self._records(dependencies, gateway), dropped

    def _refuse_unreadable(self) -> None:
        """What rattler cannot read, before it meets it: said of the line, in one sentence."""
        import rattler

        spec = self._spec
        own = {each.channel: ("dependencies", each.text) for each in spec.dependencies if each.channel}
        for channel, part in {**{each: ("channels", each) for each in spec.channels}, **own}.items():
            for url in channel_urls(channel, self._settings):
                self._read(rattler.Channel, url, part, f"{channel!r} is no channel that can be read")
        for each in spec.dependencies:
            what = f"{each.text!r} cannot be read as a package of conda and its version"
            self._read(rattler.MatchSpec, _mapped(each, self._settings), ("dependencies", each.text), what)

    def _read(self, reader: Callable[[str], object], text: str, part: tuple[str, str], what: str) -> None:
        try:
            reader(text)
        except Exception as error:  # rattler's parsers have their own error types
            place = self._spec.places.get(part, self._spec.source.name)
            reason = redacted(" ".join(str(error).split()))
            raise SolveError(f"{self._spec.source.parent / place}: {what} ({reason})") from None

    def _all_channels(self) -> list[str]:
        own = [each.channel for each in self._spec.dependencies if each.channel]
        return list(
            dict.fromkeys([*self._channels, *(url for name in own for url in channel_urls(name, self._settings))])
        )

    async def _records(self, dependencies: Sequence[CondaDependency], gateway: "Gateway") -> "list[RepoDataRecord]":
        import rattler
        from rattler.exceptions import SolverError

        specs = [rattler.MatchSpec(_mapped(each, self._settings)) for each in dependencies]
        try:
            return await rattler.solve(
                self._channels,
                specs,
                gateway=gateway,
                platforms=[rattler.Subdir(self._platform), rattler.Subdir("noarch")],
                virtual_packages=self._machines(),
            )
        except SolverError as error:
            gone = await self._gone(dependencies, gateway)
            if gone:
                raise SolveError(sentence(gone, str(self._spec.source), self._spec.channels, self._platform)) from None
            raise SolveError(_reason(self._spec, str(error), self._platform)) from None

    async def _gone(self, dependencies: Sequence[CondaDependency], gateway: "Gateway") -> list[Gone]:
        sources = [
            channel_urls(each.channel, self._settings) if each.channel else self._channels for each in dependencies
        ]
        return await find_gone(dependencies, sources, self._platform, gateway)

    def _machines(self) -> "list[GenericVirtualPackage]":
        from rattler import BuildString, GenericVirtualPackage, PackageName, Version

        found = virtual_packages(self._settings, self._platform, self._spec)
        return [
            GenericVirtualPackage(
                PackageName(name),
                Version("1" if name == "__archspec" else version),
                BuildString(version if name == "__archspec" else "0"),
            )
            for name, version in sorted(found.items())
            if version
        ]


def _mapped(dependency: CondaDependency, settings: Settings) -> str:
    """The MatchSpec, with the URL of a channel that envbuild.toml maps."""
    if dependency.channel in settings.channels:
        return f"{without_user(settings.channels[dependency.channel])}::{dependency.text.partition('::')[2]}"
    return dependency.text


def _reason(spec: EnvironmentSpec, solver: str, platform: str) -> str:
    lines = [line.rstrip() for line in solver.splitlines() if line.strip()]
    reason = redacted("\n  ".join(lines)) or "the solver gives no reason"
    text = f"{spec.source} cannot be satisfied for {platform} with the channels {', '.join(spec.channels)}:\n  {reason}"
    virtual = sorted(set(re.findall(r"__[a-z]\w*", reason)))
    if virtual:
        example = _EXAMPLES.get(virtual[0], "VERSION")
        text += (
            f"\n  {', '.join(virtual)} is what the machines have, and is never read from this one: say it in the file "
            f"(dependencies: - {virtual[0]}={example}) or in envbuild.toml "
            f'([virtual-packages.{platform}] {virtual[0]} = "{example}")'
        )
    return text


def _unreachable(channels: Sequence[str], message: str) -> str:
    shown = redacted(" ".join(message.split()))
    names = [without_credentials(each) for each in channels]
    meant = [each for each in names if re.search(rf"(^|[\s('/]){re.escape(each)}/", shown)]
    name = max(meant, key=len) if meant else ", ".join(names)
    if _REFUSED.search(shown):
        return (
            f"the channel {name} wants credentials, or refuses those it got ({shown}); "
            "docs/private-channels.md says where they go"
        )
    return (
        f"the channel {name} cannot be read ({shown}); check its name, or map it to a URL in envbuild.toml [channels]"
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
    """PyPI name -> version of everything that the conda packages bring.

    A package without purls goes by its own name when it needs Python: `zstd` of conda is a C library, not PyPI's.
    """
    found = {}
    for record in records:
        purls = [str(purl) for purl in getattr(record, "purls", None) or ()]
        names = [purl.split("/", 1)[1].split("@")[0] for purl in purls if purl.startswith("pkg:pypi/")]
        needs = {re.split(r"[ <>=!~\[]", depend)[0] for depend in record.depends}
        if needs & {"python", "python_abi"}:
            own = record.name.normalized
            names = names or [_PYPI_NAMES.get(own, own)]
        for name in names:
            found[name] = str(record.version)
    return found
