"""What a home must keep: marked from registered versions, tags, recorded runs and last use.

A version is *warm* when it is to be ready at once: its layers, its downloads and its compressed blobs are kept. One
that was not used for long is *cold*: its plain files and its image's documents stay, its layers are built again from
its lock when somebody needs them. A version goes altogether only when `keep_last` says so, no tag points at it and no
run was recorded with it.
"""

import json
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from envbuild.builder.bases.base import base_recipe
from envbuild.builder.layers.trees import find_foreign_tree
from envbuild.builder.lock import read_locks
from envbuild.builder.packing.pack import possible_piece_keys
from envbuild.builder.packing.pieces import NAME_LENGTH
from envbuild.builder.platforms import PLATFORMS
from envbuild.errors import BaseError, StoreError
from envbuild.settings import Settings

from .environments import LOCK
from .index import RECORD, Entry, list_versions
from .tags import tags_by_version

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class RunUse:
    """What one recorded run needs."""

    run: str
    """`EXPERIMENT/RUN_ID`"""
    name: str
    version: int
    image_digest: str
    snapshot: str
    """The id of its snapshot."""
    snapshot_files: frozenset[str]
    """sha256 (hex) of every file of the snapshot."""
    is_active: bool
    """Queued, preparing or running."""


@dataclass(frozen=True)
class Rules:
    """What `gc` was asked for."""

    keep_last: int | None = None
    """Versions of each name to keep, the newest ones; `None` for all."""
    older_than: float | None = None
    """Seconds since the last use after which a version gets cold; `None` for never."""


@dataclass
class Marks:
    """What stays. Everything else of its kind may go."""

    removed: list[Entry] = field(default_factory=list)
    """Versions that go."""
    cold: list[Entry] = field(default_factory=list)
    trees: set[str] = field(default_factory=set)
    """Names in `trees/`."""
    packages: set[str] = field(default_factory=set)
    """sha256 (hex) of downloads."""
    blobs: set[str] = field(default_factory=set)
    """sha256 (hex): manifests, configs, layers as they came."""
    layers: set[str] = field(default_factory=set)
    """diffIDs (hex) of warm versions: their compressed blobs stay."""
    spec_keys: set[str] = field(default_factory=set)
    bases: set[tuple[str, int]] = field(default_factory=set)
    """Name and version."""
    snapshots: set[str] = field(default_factory=set)
    snapshot_files: set[str] = field(default_factory=set)
    active_runs: set[str] = field(default_factory=set)
    """Run ids."""


def mark(home: Path, rules: Rules, uses: Sequence[RunUse], *, without: Collection[str] = ()) -> Marks:
    """What `home` must keep under `rules`; `without` are references of versions to be taken as removed.

    Raises:
        StoreError: a record is damaged.
    """
    marks = Marks()
    used = {(use.name, use.version) for use in uses}
    listing = list_versions(home)
    for folder in listing.damaged:
        raise StoreError(
            f"{folder / RECORD} cannot be read, so nobody knows what that version needs; mend it, or remove it "
            f"(envbuild env remove {folder.parent.name}:{folder.name}), then collect again"
        )
    ages = {entry.reference: _age(home, entry) for entry in listing.entries}
    for entries in _by_name(listing.entries):
        tags = tags_by_version(home, entries[0].name)
        for position, entry in enumerate(reversed(entries)):
            is_tagged = entry.version in tags
            surplus = rules.keep_last is not None and position >= rules.keep_last and not is_tagged
            unused = rules.older_than is not None and ages[entry.reference] > rules.older_than and not is_tagged
            if entry.reference in without or (surplus and (entry.name, entry.version) not in used):
                marks.removed.append(entry)
                continue
            _mark_version(home, entry, marks, is_cold=surplus or unused)
    for use in uses:
        _mark_run(home, use, marks)
    _mark_bases(home, marks)
    marks.removed.sort(key=lambda entry: (entry.name, entry.version))
    return marks


def _mark_version(home: Path, entry: Entry, marks: Marks, *, is_cold: bool) -> None:
    folder = home / "environments" / entry.name / str(entry.version)
    record = orjson.loads((folder / RECORD).read_bytes())
    marks.spec_keys.add(entry.spec_key)
    base = record.get("base") or {}
    if base:
        marks.bases.add((str(base["name"]), int(base["version"])))
    described = {key: record[key] for key in ("image", "images", "index") if key in record}
    documents = [*_values(described, "digest"), *_values(described, "config_digest")]
    marks.blobs.update(_DIGEST.findall(json.dumps(documents)))
    if is_cold:
        marks.cold.append(entry)
        return
    digests = _DIGEST.findall(json.dumps(described))
    marks.blobs.update(digests)
    marks.layers.update(digests)
    marks.trees.update(str(name) for name in _values(record, "tree"))
    for packages in _packages(folder, record):
        python = packages.get("conda:python")
        marks.packages.update(packages.values())
        marks.trees.update(key[:NAME_LENGTH] for each in packages.values() for key in possible_piece_keys(each, python))


def _packages(folder: Path, record: Mapping[str, Any]) -> list[dict[str, str]]:
    """For each platform of a version: package -> sha256 (hex)."""
    if "images" not in record:
        return [dict(packages) for packages in _values(record["ingredients"], "packages")]
    locks = read_locks(folder / LOCK, tuple(record["images"]))  # the ingredients are those of one platform
    return [{f"{each.manager}:{each.name}": each.sha256 for each in lock.packages} for lock in locks]


def _mark_run(home: Path, use: RunUse, marks: Marks) -> None:
    marks.snapshots.add(use.snapshot)
    marks.snapshot_files |= use.snapshot_files
    if use.is_active:
        marks.active_runs.add(use.run.rpartition("/")[2])
    for digest in _DIGEST.findall(use.image_digest):
        marks.blobs.add(digest)
        try:
            manifest = (home / "store/blobs/sha256" / digest).read_bytes()
            marks.blobs.update(_DIGEST.findall(json.dumps(json.loads(manifest)["config"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _mark_bases(home: Path, marks: Marks) -> None:
    """The newest version of every base is what the next build stands on; of the others, what versions stand on."""
    for folder in (home / "bases").glob("*"):
        versions = [int(each.name) for each in folder.glob("*") if each.name.isdecimal()]
        if versions:
            marks.bases.add((folder.name, max(versions)))
    for name, version in marks.bases:
        for platform in PLATFORMS:  # an imported base has packages and pins, and was never built here
            with suppress(BaseError):  # pins that cannot be read build nothing
                recipe = base_recipe(name, version, Settings(home=home), platform)
                marks.packages.update(package.sha256 for package in (recipe.packages if recipe else ()))
        for file in (home / "bases").glob(f"{name}*/{version}/base.json"):
            try:
                record = json.loads(file.read_bytes())
            except (OSError, ValueError):
                continue
            marks.packages.update(re.findall(r"\b[0-9a-f]{64}\b", json.dumps(record.get("made_of", {}))))
            if version == max(int(each.name) for each in file.parent.parent.glob("*") if each.name.isdecimal()):
                marks.trees.update(str(tree) for tree in _values(record, "tree"))
    for folder in (home / "bases").glob("*"):
        _mark_registry_base(home, folder, marks)


def _mark_registry_base(home: Path, folder: Path, marks: Marks) -> None:
    """Trees and blobs of the newest version of a base that was pulled."""
    versions = sorted(int(each.parent.name) for each in folder.glob("*/image.json") if each.parent.name.isdecimal())
    try:
        diff_ids = json.loads((folder / str(versions[-1]) / "image.json").read_bytes())["diff_ids"]
        found = [find_foreign_tree(home, str(diff_id)) for diff_id in diff_ids]
    except (IndexError, OSError, ValueError, KeyError, TypeError):
        return
    for tree, _, blob in filter(None, found):
        marks.trees.add(tree)
        marks.blobs.add(blob.digest.removeprefix("sha256:"))


def _values(document: object, key: str) -> Iterator[Any]:
    """Every value that stands under `key`, however deep."""
    if isinstance(document, Mapping):
        for name, value in document.items():
            if name == key:
                yield value
            else:
                yield from _values(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from _values(value, key)


def _by_name(entries: Sequence[Entry]) -> list[list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.name, []).append(entry)
    return list(found.values())


def _age(home: Path, entry: Entry) -> float:
    """Seconds since the last use: the time of the version's folder (`environments.touch`)."""
    return time.time() - (home / "environments" / entry.name / str(entry.version)).stat().st_mtime
