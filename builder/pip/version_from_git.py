"""What git knows of a source, handed to its build in the way that each tool has for sources without a repository.

setuptools_scm, hatch-vcs and their kin read `.git_archival.txt`, the file that `git archive` fills in; their own
version scheme makes the version of it. PDM takes a finished version in the variable PDM_BUILD_SCM_VERSION: the one that
its own default format gives, and a project with another format must be at a tag.
"""

import re
from pathlib import Path

from envbuild.errors import PackageError

from ..inputs.git_version import VersionTool
from ..lock import GitDescription

_FILE = ".git_archival.txt"
_DIGITS = 9
"""Of a commit in a version, as setuptools_scm cuts it. git's own number depends on how many objects a clone has."""
_PDM_TAG = re.compile(r"^(?:[\w-]+-)?(?P<version>[vV]?\d+(?:\.\d+){0,2}[^\+]*)(?:\+.*)?$")
"""PDM's own default (`tag_regex` in its documents)."""


def hand_over(tool: VersionTool, description: GitDescription, folder: Path, shown: str) -> dict[str, str]:
    """Tell a build in `folder` what git knows: write the file that its tool reads, or return variables for it.

    Raises:
        PackageError: the version cannot be known without running the project's own code on its repository.
    """
    if tool.kind == "archival":
        (folder / _FILE).unlink(missing_ok=True)  # a link in the source must not lead elsewhere
        (folder / _FILE).write_text(_archival(description), encoding="utf-8")
        return {}
    return {"PDM_BUILD_SCM_VERSION": _pdm_version(tool, description, shown)}


def _archival(description: GitDescription) -> str:
    """As `git archive` writes it; without a tag, what setuptools_scm takes instead of one."""
    name = f"{description.tag or '0.0'}-{description.distance}-g{description.commit[:_DIGITS]}"
    return f"node: {description.commit}\nnode-date: {description.date}\ndescribe-name: {name}\n"


def _pdm_version(tool: VersionTool, description: GitDescription, shown: str) -> str:
    from packaging.version import InvalidVersion, Version

    own = [name for name in ("tag_regex", "version_format") if tool.settings.get(name)]
    if own and (description.distance or "tag_regex" in own or not description.tag):
        raise PackageError(
            f"{shown} makes its version by {' and '.join(own)} of its own, which PDM runs on a repository, and a build "
            "sees none; name a commit that has a tag, or a release"
        )
    match = _PDM_TAG.match(description.tag or "0.0")
    try:
        version = str(Version(match["version"] if match else ""))
    except InvalidVersion:
        raise PackageError(f"{shown} has the tag {description.tag}, which holds no version (PEP 440)") from None
    if not description.distance:
        return version
    return f"{_next(version)}.dev{description.distance}+g{description.commit[:_DIGITS]}"


def _next(version: str) -> str:
    """The version that comes after, as PDM and setuptools_scm guess it: 1.2 -> 1.3, 2.0rc1 -> 2.0rc2."""
    public = version.partition("+")[0]
    if ".dev" in public:
        return public.rpartition(".dev")[0]
    head, number = re.fullmatch(r"(.*?)(\d+)", public, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{head}{int(number) + 1}"
