"""Names that move: a tag (`pytorch-env:prod`) points at one version. And the history of a name: what happened when.

environments/NAME/tags.json       {"prod": 2}
environments/NAME/history.jsonl   one event a line: tagged, untagged, removed
"""

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envbuild.builder import atomic
from envbuild.errors import InputError, StoreError

LATEST = "latest"
"""Always the newest version; nobody sets it."""

_TAG = re.compile(r"[A-Za-z0-9_][\w.-]{0,127}", re.ASCII)
"""OCI distribution specification, "Pulling manifests"."""


def check_tag(tag: str) -> str:
    """Return `tag` when it can name a version.

    Raises:
        InputError: it cannot.
    """
    if not _TAG.fullmatch(tag) or tag.isdecimal():
        raise InputError(
            f"{tag!r} cannot be a tag: use letters, digits, '.', '-' and '_', at most 128, and not only digits, "
            "which are versions"
        )
    if tag.lower() == LATEST:
        raise InputError(f"the tag {LATEST} always means the newest version; choose another one")
    return tag


def read_tags(home: Path, name: str) -> dict[str, int]:
    """Tag -> version.

    Raises:
        StoreError: the file is damaged.
    """
    file = _folder(home, name) / "tags.json"
    try:
        return {str(tag): int(version) for tag, version in json.loads(file.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise StoreError(f"{file} cannot be read ({error}); remove it and set the tags again") from None


def tags_by_version(home: Path, name: str) -> dict[int, list[str]]:
    """Version -> the tags that point at it, sorted."""
    found: dict[int, list[str]] = {}
    for tag, version in sorted(read_tags(home, name).items()):
        found.setdefault(version, []).append(tag)
    return found


def move_tag(home: Path, name: str, tag: str, version: int) -> int | None:
    """Point `tag` at `version`; return the version it pointed at before.

    Raises:
        InputError: `tag` cannot be a tag.
    """
    check_tag(tag)
    with atomic.key_lock(home / "environments", name):
        tags = read_tags(home, name)
        before = tags.get(tag)
        if before != version:
            write_tags(home, name, {**tags, tag: version})
            note_event(home, name, "tagged", tag=tag, version=version, before=before)
    return before


def drop_tag(home: Path, name: str, tag: str) -> int:
    """Remove `tag`; return the version it pointed at.

    Raises:
        InputError: `name` has no such tag.
    """
    with atomic.key_lock(home / "environments", name):
        tags = read_tags(home, name)
        if tag not in tags:
            known = ", ".join(sorted(tags)) or "none"
            hint = f"; {name}:{tag} is a version: envbuild env remove" if tag.isdecimal() else ""
            raise InputError(f"{name} has no tag {tag!r}; it has: {known}{hint}")
        version = tags.pop(tag)
        write_tags(home, name, tags)
        note_event(home, name, "untagged", tag=tag, version=version)
    return version


def write_tags(home: Path, name: str, tags: Mapping[str, int]) -> None:
    """Replace the tags of `name`; whoever calls holds the lock of the name."""
    text = json.dumps(tags, indent=1, sort_keys=True) + "\n"
    atomic.write_file(_folder(home, name) / "tags.json", text.encode(), durable=True)


def note_event(home: Path, name: str, event: str, **details: object) -> None:
    """Add one line to the history of `name`; whoever calls holds the lock of the name.

    Raises:
        OSError: it cannot be written whole.
    """
    line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event, **details})
    data = f"{line}\n".encode()
    descriptor = os.open(_folder(home, name) / "history.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # torn: it must not take this line along
            data = b"\n" + data
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def read_events(home: Path, name: str) -> list[dict[str, Any]]:
    """The events of `name`, oldest first; a torn line is passed over."""
    try:
        lines = (_folder(home, name) / "history.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and {"time", "event"} <= event.keys() and isinstance(event.get("version"), int):
            found.append(event)
    return found


def _folder(home: Path, name: str) -> Path:
    return home / "environments" / name
