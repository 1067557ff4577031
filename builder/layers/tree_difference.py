"""Two layer trees in, what differs between them out: entry by entry, as far as a layer's bytes depend on it."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..file_digest import sha256_of


@dataclass(frozen=True)
class _Entry:
    """What a layer holds of one path (`layer.py`: folders and links have no time of their own)."""

    kind: str
    mode: int
    mtime: int = 0
    size: int = 0
    content: str = ""
    """sha256 (hex) of a file, target of a link."""


def tree_differences(expected: Path, found: Path) -> list[str]:
    """One line for each path of `found` that is not as in `expected`, sorted by path."""
    before, after = dict(_entries(expected)), dict(_entries(found))
    lines = []
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        if old is None:
            lines.append(f"{path} should not be there")
        elif new is None:
            lines.append(f"{path} is missing")
        elif old != new:
            lines.append(f"{path} {_difference(old, new)}")
    return lines


def _difference(old: _Entry, new: _Entry) -> str:
    if old.kind != new.kind:
        return f"is a {new.kind}, not a {old.kind}"
    if old.kind == "link" and old.content != new.content:
        return f"points to {new.content}, not to {old.content}"
    if (old.size, old.content) != (new.size, new.content):
        return f"has other content: sha256 {new.content[:12]} ({new.size} bytes), not {old.content[:12]} ({old.size})"
    if old.mode != new.mode:
        return f"has the mode {new.mode:o}, not {old.mode:o}"
    return f"has the time {new.mtime}, not {old.mtime}"


def _entries(tree: Path) -> Iterator[tuple[str, _Entry]]:
    folders = [str(tree)]
    while folders:
        with os.scandir(folders.pop()) as scan:
            for entry in scan:
                status = entry.stat(follow_symlinks=False)
                mode = status.st_mode & 0o1777
                path = os.path.relpath(entry.path, tree)
                if stat.S_ISDIR(status.st_mode):
                    folders.append(entry.path)
                    yield path, _Entry("folder", mode)
                elif stat.S_ISLNK(status.st_mode):
                    yield path, _Entry("link", 0o777, content=os.readlink(entry.path))
                elif stat.S_ISREG(status.st_mode):
                    content = sha256_of(entry.path)
                    yield path, _Entry("file", mode, int(status.st_mtime), status.st_size, content)
                else:
                    yield path, _Entry("special file", mode)
