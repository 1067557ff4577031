"""What happened under one name: versions registered and removed, tags set and moved."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .environments import check_name, not_registered
from .index import list_versions
from .tags import read_events, tags_by_version


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    time: str
    """UTC, as records write it."""
    what: str
    """`registered`, `tagged`, `untagged` or `removed`."""
    version: int
    detail: str
    """Why a version was built, or which tag was moved from where."""
    digest: str
    """The image's, where it is known."""
    tags: tuple[str, ...]
    """What points at the version today."""


def history(home: Path, name: str) -> list[Event]:
    """The events of `name`, oldest first.

    Raises:
        NotFound: nothing was ever registered under that name.
    """
    entries = list_versions(home, check_name(name)).entries
    events = read_events(home, name)
    if not entries and not events:
        raise not_registered(home, name)
    tags = tags_by_version(home, name)
    pointing = {entry.version: tuple(tags.get(entry.version, ())) for entry in entries}
    found = [
        Event(entry.registered, "registered", entry.version, entry.reason, entry.digest, pointing[entry.version])
        for entry in entries
    ]
    gone = [event for event in events if event["event"] == "removed" and event["version"] not in pointing]
    found += [_registered(event) for event in gone if event.get("registered")]
    found += [_event(event) for event in events if event["event"] != "removed" or event in gone]
    return sorted(found, key=lambda event: event.time)  # stable: within a second, as they happened


def _registered(removed: dict[str, Any]) -> Event:
    """That a version was registered which is there no more: its removal keeps when and why."""
    reason, digest = str(removed.get("reason") or ""), str(removed.get("digest") or "")
    return Event(str(removed["registered"]), "registered", int(removed["version"]), reason, digest, ())


def _event(event: dict[str, Any]) -> Event:
    detail = str(event.get("tag") or "")
    if event.get("before"):
        detail += f", before on version {event['before']}"
    if event.get("tags"):
        detail = f"with the tags {', '.join(map(str, event['tags']))}"
    return Event(event["time"], event["event"], int(event["version"]), detail, str(event.get("digest") or ""), ())
