"""What the versions of a home are, in short, without reading every record: an index that may be deleted at any time.

    cache/environments.json    NAME/VERSION -> what `environment.json` said, and the file's size and time then

A record never changes, so an entry holds as long as the file's size and time are the same; anything else is read again.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from envbuild.builder import atomic

RECORD = "environment.json"

_FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One version in short."""

    name: str
    version: int
    environment_id: str
    spec_key: str
    registered: str
    packages: int
    size: int
    """Bytes of the image's layers, uncompressed."""
    digest: str
    """Of the image's manifest."""
    platform: str
    reason: str
    """Why it was built, for instance `numpy 2.1.0 -> 2.2.0`; empty for what came from elsewhere."""

    @property
    def reference(self) -> str:
        return f"{self.name}:{self.version}"


@dataclass(frozen=True)
class Listing:
    """The versions that can be read, and the folders of those that cannot."""

    entries: tuple[Entry, ...]
    """By name and version."""
    damaged: tuple[Path, ...]


def list_versions(home: Path, name: str | None = None) -> Listing:
    """Every version of every environment, or of the one called `name`."""
    known = _read_index(home)
    found = {key: kept for key, kept in known.items() if name and not key.startswith(f"{name}/")}
    entries, damaged = [], []
    for each in [name] if name else environment_names(home):
        for version in versions_of(home, each):
            folder = home / "environments" / each / str(version)
            key = f"{each}/{version}"
            try:
                status = (folder / RECORD).stat()
                stamp = [status.st_size, status.st_mtime_ns]
                kept = known.get(key, {})
                entry = Entry(**kept["entry"]) if kept.get("stamp") == stamp else _entry(folder, each, version)
            except (OSError, ValueError, KeyError, TypeError):
                damaged.append(folder)
                continue
            found[key] = {"stamp": stamp, "entry": asdict(entry)}
            entries.append(entry)
    if found != known:
        _write_index(home, found)
    return Listing(tuple(entries), tuple(damaged))


def environment_names(home: Path) -> list[str]:
    """The names under which something is registered, sorted."""
    folder = home / "environments"
    names = (each.name for each in folder.iterdir() if not each.name.startswith(".")) if folder.is_dir() else ()
    return sorted(name for name in names if versions_of(home, name))


def versions_of(home: Path, name: str) -> list[int]:
    """The versions of `name`, sorted; empty when there is none."""
    try:
        return sorted(_version_numbers((home / "environments" / name).iterdir()))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _version_numbers(entries: Iterable[Path]) -> Iterator[int]:
    return (int(entry.name) for entry in entries if entry.name.isdecimal())


def _entry(folder: Path, name: str, version: int) -> Entry:
    record = orjson.loads((folder / RECORD).read_bytes())
    return Entry(
        name=name,
        version=version,
        environment_id=str(record["environment_id"]),
        spec_key=str(record.get("spec_key", "")),
        registered=str(record["registered"]),
        packages=int(record["packages"]),
        size=sum(int(layer["size"]) for layer in record["image"]["layers"]),
        digest=str(record["image"]["digest"]),
        platform=str(record["platform"]),
        reason=str(record.get("reason", "")),
    )


def _read_index(home: Path) -> dict[str, dict[str, Any]]:
    try:
        document = json.loads(_file(home).read_bytes())
        entries: dict[str, dict[str, Any]] = document["entries"] if document["format"] == _FORMAT else {}
        return entries
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write_index(home: Path, entries: dict[str, dict[str, Any]]) -> None:
    text = json.dumps({"format": _FORMAT, "entries": entries}, separators=(",", ":"))
    with contextlib.suppress(OSError):  # a full or read-only disk: the records are what counts
        atomic.write_file(_file(home), text.encode())


def _file(home: Path) -> Path:
    return home / "cache" / "environments.json"
