"""What git knows of a source whose version is made of it (setuptools_scm, hatch-vcs, PDM).

A build sees no repository: `.git` holds times, other branches and the like of the machine that cloned it, and the
sandbox has no git. What such tools take of it is read here, outside: the newest tag that fits, how many commits came
since, which commit, its date. It is part of the request and of the lock, so that the same wheel can be built again also
after somebody has moved a tag; `pip/version_from_git.py` hands it to the build.
"""

import itertools
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from envbuild.errors import SpecError

from ..git import look_into
from ..lock import GitDescription

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_ARCHIVAL = re.compile(r"(setuptools|flit|hatch)[-_.](scm|vcs)|vcs[-_.]versioning", re.IGNORECASE)
_USUAL = "--match=*[0-9]*"
_LEGACY = re.compile(r"use_scm_version|setuptools[-_]scm")


@dataclass(frozen=True)
class VersionTool:
    """What makes the version of a project out of git."""

    kind: Literal["archival", "pdm"]
    """`archival`: reads `.git_archival.txt` where there is no repository, as setuptools_scm does."""
    tags: tuple[str, ...]
    """Which tags it looks at: `--match=GLOB` and `--exclude=GLOB` of `git describe`."""
    settings: Mapping[str, Any]
    """Its own, of pyproject.toml."""


def version_tool(folder: Path) -> VersionTool | None:
    """The tool that makes the version of the project in `folder` out of git; `None` where the version is written."""
    project = _pyproject(folder)
    tools: Mapping[str, Any] = _table(project.get("tool"))
    requires = _texts(_table(project.get("build-system")).get("requires"))
    pdm = _table(_table(tools.get("pdm")).get("version"))
    if pdm.get("source") == "scm":
        return VersionTool("pdm", (f"--match={pdm.get('tag_filter') or '*.*'}",), pdm)
    if any(_ARCHIVAL.match(each) for each in requires) or _asks_in_setup(folder):
        hatch = _table(_table(tools.get("hatch")).get("version"))
        own = hatch.get("raw-options") if hatch.get("source") == "vcs" else tools.get("setuptools_scm")
        settings = _table(own or tools.get("vcs-versioning"))
        return VersionTool("archival", _tags(settings), settings)
    return None


def describe(folder: Path, tool: VersionTool) -> GitDescription | None:
    """What git knows of the commit that `folder` is at; `None` where it is in no repository.

    Raises:
        SpecError: the history is not here (a shallow clone), the repository is damaged, or git refuses to look.
    """
    head = look_into(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if head.returncode:
        refused = next((line for line in head.stderr.splitlines() if "dubious ownership" in line), "")
        if refused:
            raise SpecError(f"git does not look into {folder}: {refused.removeprefix('fatal: ')}")
        return None
    commit = head.stdout.strip()
    date = _answer(folder, "rev-list", "--max-count=1", "--format=%cI", commit).splitlines()[-1]
    # what is in a submodule only its own git could tell, with settings that are not ours
    changed = _answer(folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty") != ""
    found = look_into(folder, "describe", "--tags", "--long", "--abbrev=40", *tool.tags, commit)
    if found.returncode == 0:
        tag, distance, _ = found.stdout.strip().rsplit("-", 2)
        return GitDescription(tag, int(distance), commit, date, changed)
    if _answer(folder, "rev-parse", "--is-shallow-repository") == "true":
        raise SpecError(
            f"the version of {folder} is made of git's tags, and its clone is shallow, without the commits back to "
            "one; bring them: git fetch --unshallow --tags"
        )
    return GitDescription("", int(_answer(folder, "rev-list", "--count", commit)), commit, date, changed)


def _answer(folder: Path, *words: str) -> str:
    done = look_into(folder, *words)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise SpecError(f"the git repository of {folder} cannot be read: {last.removeprefix('fatal: ')}")
    return done.stdout.strip()


def _tags(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """What a `git describe` command that the project has of its own looks at; else what setuptools_scm does."""
    git = _table(_table(settings.get("scm")).get("git"))
    command = settings.get("git_describe_command") or git.get("describe_command")
    try:
        words = shlex.split(command) if isinstance(command, str) else _texts(command)
    except ValueError:
        words = []
    found = [word for word in words if word.startswith(("--match=", "--exclude="))]
    found += [f"{word}={after}" for word, after in itertools.pairwise(words) if word in ("--match", "--exclude")]
    return tuple(found) if any(word.startswith("--match=") for word in found) else (*found, _USUAL)


def _pyproject(folder: Path) -> Mapping[str, Any]:
    try:
        file = folder / "pyproject.toml"
        # a link in somebody's repository may lead to a device, which has no end
        return _table(tomllib.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
    except (OSError, ValueError, RecursionError):  # said where the project is built
        return {}


def _asks_in_setup(folder: Path) -> bool:
    for name in ("setup.py", "setup.cfg"):
        file = folder / name
        if file.is_file() and _LEGACY.search(file.read_text(encoding="utf-8", errors="replace")):
            return True
    return False


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
