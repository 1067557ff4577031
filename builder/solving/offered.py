"""What the channels still offer of what a file asks for: exported files outlive the builds that they name.

A quarter of public environment files name exact builds (`conda env export`). Channels drop builds and versions; the
solver then speaks of one of them. Here all of them are found, by asking the channels for each name.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ..spec import CondaDependency

if TYPE_CHECKING:
    from rattler import Gateway, RepoDataRecord

What = Literal["names", "pins", "builds"]
LOOSENABLE = ("builds", "pins")


@dataclass(frozen=True)
class Gone:
    """A dependency that no channel offers as it is asked for."""

    dependency: CondaDependency
    what: What
    """What of it is not offered: the name, the version, or only the build of that version."""
    offered: tuple[str, ...]
    """What there is instead, the newest last: versions, or builds of that version."""

    def __str__(self) -> str:
        if self.what == "names":
            return f"{self.dependency.text} (no channel has this name)"
        kind = "builds" if self.what == "builds" else "versions"
        shown = ", ".join(self.offered[-3:])
        return f"{self.dependency.text} ({kind} offered: {shown}{', ...' if len(self.offered) > 3 else ''})"


async def find_gone(
    dependencies: Sequence[CondaDependency], sources: Sequence[Sequence[str]], platform: str, gateway: "Gateway"
) -> list[Gone]:
    """Which of `dependencies` are not offered; `sources` are, for each of them, the channels that may bring it."""
    import rattler

    channels = sorted({url for urls in sources for url in urls})
    names = sorted({dependency.name for dependency in dependencies})
    if not names:
        return []
    answer = await gateway.query(channels, [rattler.Subdir(platform), rattler.Subdir("noarch")], names, recursive=False)
    by_name: dict[str, list[RepoDataRecord]] = {}
    for records in answer:
        for record in records:
            by_name.setdefault(record.name.normalized, []).append(record)
    gone = []
    for dependency, urls in zip(dependencies, sources, strict=True):
        roots = tuple(f"{url.rstrip('/')}/" for url in urls)
        candidates = [each for each in by_name.get(dependency.name, ()) if str(each.url).startswith(roots)]
        if not any(rattler.MatchSpec(replace(dependency, channel="").text).matches(each) for each in candidates):
            gone.append(_gone(dependency, candidates))
    return gone


def loosen(
    dependencies: Sequence[CondaDependency], gone: Sequence[Gone], kinds: Collection[str]
) -> tuple[tuple[CondaDependency, ...], tuple[str, ...]]:
    """`dependencies` without the builds or versions that are gone, as far as `kinds` allows; and what was dropped."""
    by_name = {each.dependency.name: each for each in gone}
    kept, dropped = [], []
    for dependency in dependencies:
        missing = by_name.get(dependency.name)
        if missing and missing.what == "builds" and "builds" in kinds:
            dropped.append(
                f"{dependency.text}: the build {dependency.build} is not offered any more; any build is taken"
            )
            dependency = replace(dependency, build="")
        elif missing and missing.what == "pins" and "pins" in kinds:
            pin = " ".join(part for part in (dependency.version, dependency.build) if part)
            dropped.append(f"{dependency.text}: {pin} is not offered any more; any version is taken")
            dependency = replace(dependency, version="", build="")
        kept.append(dependency)
    return tuple(kept), tuple(dropped)


def sentence(gone: Sequence[Gone], source: str, channels: Sequence[str], platform: str) -> str:
    """The error that names everything that is gone, and what can be done about it."""
    count = f"{len(gone)} packages that are" if len(gone) > 1 else "a package that is"
    shown = "\n  ".join(str(each) for each in gone)
    hints = []
    if any(each.what == "builds" for each in gone):
        hints.append("--loosen builds takes any build of the same version")
    if any(each.what == "pins" for each in gone):
        hints.append("--loosen pins takes any version")
    if any(each.what == "names" for each in gone):
        hints.append("check the spelling of names and the channels")
    where = f"{', '.join(channels)} for {platform}"
    return f"{source} asks for {count} not offered by {where}:\n  {shown}\n  {'; '.join(hints)}"


def _gone(dependency: CondaDependency, candidates: "Sequence[RepoDataRecord]") -> Gone:
    import rattler

    if not candidates:
        return Gone(dependency, "names", ())
    anyhow = rattler.MatchSpec(replace(dependency, build="", channel="").text)
    same_version = [each for each in candidates if anyhow.matches(each)]
    if same_version and dependency.build:
        return Gone(dependency, "builds", tuple(sorted({str(each.build) for each in same_version})))
    versions = {each.version.version if hasattr(each.version, "version") else each.version for each in candidates}
    return Gone(dependency, "pins", tuple(str(each) for each in sorted(versions)))
