"""How git is asked: without hooks, questions at the terminal, or programs that a repository's configuration names.

A folder that somebody hands on may hold a `.git` of its own, and its configuration can name programs for a filter, a
signature or a transport. What is asked of such a repository (`look_into`) starts none of them.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from envbuild.errors import SpecError

_ELSEWHERE = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_SHALLOW_FILE"),
    *("GIT_GRAFT_FILE", "GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE"),
)
"""Set where we are started by a hook: they would lead every question to the repository of that hook."""
_OF_THE_REPOSITORY = ("local", "worktree")
_FILTER = r"^filter\..*\.(clean|smudge|process)$"


def own_environment() -> dict[str, str]:
    """Our environment without what would lead git from the folder that it is asked about to another repository."""
    return {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}


def run_git(*words: str, more: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run git to its end, with the variables `more`.

    Raises:
        SpecError: there is no git here.
    """
    if not shutil.which("git"):
        raise SpecError("a pip line names a git repository, and this machine has no git; install it")
    environment = own_environment() | {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    safe = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "protocol.ext.allow=never", "log.showSignature=false")
    return subprocess.run(
        ["git", *(word for setting in safe for word in ("-c", setting)), *words],
        capture_output=True,
        encoding="utf-8",
        errors="replace",  # names of tags are bytes
        check=False,
        stdin=subprocess.DEVNULL,
        env={**environment, **(more or {})},
    )


def look_into(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Ask git about the repository that `folder` is in: on this machine alone, and without its filters.

    Raises:
        SpecError: there is no git here.
    """
    alone = {"GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1"}  # a partial clone would fetch what it lacks
    named = run_git("-C", str(folder), "config", "--show-scope", "--null", "--name-only", "--get-regexp", _FILTER)
    fields = named.stdout.split("\0")
    names = {
        name.rpartition(".")[0]
        for scope, name in zip(fields[::2], fields[1::2], strict=False)
        if scope in _OF_THE_REPOSITORY
    }
    settings = [
        (f"{name}.{key}", value)
        for name in sorted(names)
        for key, value in (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false"))
    ]
    return run_git("-C", str(folder), *words, more={**alone, **_as_variables(settings)})


def _as_variables(settings: list[tuple[str, str]]) -> dict[str, str]:
    """`settings` after those that the environment has (git-config(1), GIT_CONFIG_COUNT): names may hold any sign."""
    count = os.environ.get("GIT_CONFIG_COUNT", "")
    first = int(count) if count.isdecimal() else 0
    found = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (name, value) in enumerate(settings, first):
        found |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return found
