"""Which commit a source folder is at, and what differs from it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from envbuild.builder.git import own_environment

DIFF_LIMIT = 1 << 20
"""Bytes of a difference that are kept; the snapshot holds the files themselves."""

_SECONDS = 20
_NO_HOOKS = ("-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null")
"""No monitor and no hook runs. Clean filters do, git-lfs' for one: without them every such file would differ."""


@dataclass(frozen=True)
class GitState:
    """The state of the repository that holds a source folder."""

    commit: str
    branch: str | None
    """`None` when no branch is checked out."""
    dirty: bool
    """Whether the source folder differs from the commit, new files included."""
    diff: bytes
    """`git diff HEAD` of the source folder, at most `DIFF_LIMIT` bytes."""
    diff_complete: bool

    def record(self) -> dict[str, object]:
        """How `run.json` describes it; the difference is a file of its own."""
        return {
            "commit": self.commit, "branch": self.branch, "dirty": self.dirty, "diff_complete": self.diff_complete,
        }  # fmt: skip


def read_git(source: Path) -> GitState | None:
    """The state of the repository around `source`; `None` outside of one, or when git is not there."""
    try:
        commit = _git(source, "rev-parse", "--verify", "HEAD").decode().strip()
        branch = _git(source, "rev-parse", "--abbrev-ref", "HEAD").decode().strip()
        dirty = bool(_git(source, "status", "--porcelain", "--", ".").strip())
        diff = _git(source, "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv", "--", ".") if dirty else b""
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return GitState(
        commit, None if branch == "HEAD" else branch, dirty, diff[:DIFF_LIMIT], diff_complete=len(diff) <= DIFF_LIMIT
    )


def _git(source: Path, *line: str) -> bytes:
    """What git prints, cut just above `DIFF_LIMIT`."""
    environ = {**own_environment(), "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    with subprocess.Popen(
        ["git", "-C", source, *_NO_HOOKS, *line],
        env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        text = process.stdout.read(DIFF_LIMIT + 1)
        if len(text) > DIFF_LIMIT:
            process.kill()
            return text
        if process.wait(_SECONDS):
            raise subprocess.CalledProcessError(process.returncode, "git")
    return text
