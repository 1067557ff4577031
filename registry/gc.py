"""A home in, its garbage out: what no registered version, tag or recorded run needs (`marks.py` decides).

    mark -> list what goes, by kind -> count its bytes -> remove

It has the home alone while it works (`home_lock`), and leaves what a running job holds. It may be killed at any
point: whatever goes loses its name before it loses its content, a tree's record goes before the tree, a snapshot's
list before its files, a version last of all; what is half removed then is swept by the next build or `gc`.
"""

import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuild.builder import atomic
from envbuild.builder.home_lock import alone, is_held
from envbuild.builder.report import Reporter
from envbuild.builder.store import Store
from envbuild.settings import Settings

from .environments import remove_version
from .index import Entry
from .marks import Marks, Rules, RunUse, mark

KEEP_LOGS = 20
"""Logs of builds that are kept in `logs/`, the newest: a version has its own copy, so these are of failed builds."""

_LOCK_AGE = 30 * 86400
"""Seconds that the lock of a request stays which no version was registered from."""

_DEPTHS = {"trees": 1, "scratch": 1, "cache": 1, "data": 3, "runs": 3}
"""Folder of a home -> how deep in it temporaries are looked for; below are contents, and their names are the users'."""

_BEGINNING = 60.0
"""Seconds after which whoever made a temporary name has certainly locked it."""

KINDS = (
    "temporaries", "scratch", "trees", "packages", "snapshots", "images", "compressed", "logs", "locks", "bases",
    "environments",
)  # fmt: skip
"""In the order in which they are removed."""


@dataclass(frozen=True)
class Garbage:
    """Files and folders of one kind."""

    kind: str
    paths: tuple[Path, ...]
    size: int
    """Bytes on disk that go with them; of a file with several names, those of the last one."""


@dataclass(frozen=True)
class Collection:
    """What `collect` removed, or would remove."""

    garbage: tuple[Garbage, ...]
    removed: tuple[Entry, ...]
    """Versions that are not registered any more."""
    cold: tuple[Entry, ...]
    """Versions whose layers are built again when they are needed."""
    held: tuple[Path, ...]
    """What would have gone, but a running job uses it."""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(each.size for each in self.garbage)


def collect(
    settings: Settings, reporter: Reporter, rules: Rules, uses: Callable[[], Sequence[RunUse]], *, dry_run: bool = False
) -> Collection:
    """Remove what nothing needs; with `dry_run` only say what that is.

    `uses` reads what recorded runs need; it is called when nobody can start one any more.

    Raises:
        StoreError: somebody builds or starts a run now, or a record is damaged.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    if dry_run:
        return _find(settings.home, mark(settings.home, rules, uses()))
    with alone(settings.home):
        found = _find(settings.home, mark(settings.home, rules, uses()))
        _remove(settings.home, found, reporter)
    return found


def would_free(settings: Settings, references: Sequence[str], uses: Sequence[RunUse]) -> int:
    """Bytes that `collect` would free in addition if these versions were not there."""
    now = _find(settings.home, mark(settings.home, Rules(), uses, without=()))
    then = _find(settings.home, mark(settings.home, Rules(), uses, without=references))
    return then.size - now.size


def _find(home: Path, marks: Marks) -> Collection:
    found = {
        "temporaries": list(_temporaries(home)),
        "scratch": _scratch(home, marks),
        "trees": _unmarked(home / "trees", lambda name: name.removesuffix(".json") in marks.trees),
        "packages": _unmarked(home / "packages", marks.packages.__contains__),
        "snapshots": [
            *_unmarked(home / "snapshots", lambda name: name.removesuffix(".json") in {*marks.snapshots, "files"}),
            *_unmarked(home / "snapshots/files", marks.snapshot_files.__contains__),
        ],
        **_blobs(home, marks),
        "logs": _old_logs(home),
        "locks": [
            file
            for file in _unmarked(home / "locks", lambda name: f"sha256:{name.removesuffix('.yml')}" in marks.spec_keys)
            if _age(file) > _LOCK_AGE
        ],
        "bases": [
            folder
            for folder in (home / "bases").glob("*/*")
            if folder.name.isdecimal() and not _is_base_marked(folder, marks)
        ],
        "environments": [home / "environments" / each.name / str(each.version) for each in marks.removed],
    }
    held = [path for kind in ("scratch", "trees") for path in found[kind] if is_held(path)]
    kept = {*held, *(path.with_name(f"{path.name}.json") for path in held)}
    counted = _Counter([path for kind in KINDS for path in found[kind] if path not in kept])
    garbage = []
    for kind in KINDS:
        paths = tuple(path for path in sorted(found[kind]) if path not in kept)
        if paths:
            garbage.append(Garbage(kind, paths, sum(counted.size(path) for path in paths)))
    return Collection(tuple(garbage), tuple(marks.removed), tuple(marks.cold), tuple(held))


def _remove(home: Path, found: Collection, reporter: Reporter) -> None:
    with reporter.task("gc", sum(len(each.paths) for each in found.garbage), "entries") as task:
        for garbage in found.garbage:
            if garbage.kind == "environments":
                for entry in found.removed:
                    remove_version(home, entry.name, entry.version)
                    task.advance(1)
                continue
            if garbage.kind == "images":
                Store(home).forget({f"sha256:{path.name}" for path in garbage.paths})
            # the record of a tree, and the list of a snapshot, before what they describe
            for path in sorted(garbage.paths, key=lambda path: path.suffix != ".json"):
                if garbage.kind == "temporaries":
                    _remove_at_once(path)
                else:
                    atomic.discard(path)
                task.advance(1)


def _remove_at_once(path: Path) -> None:
    """It has a temporary name already."""
    if _is_plain_folder(path):
        atomic.remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def _temporaries(home: Path) -> Iterator[Path]:
    """What killed writers left, wherever one may write; and the lock files of building, for which nobody waits now."""
    locks = {home / each / ".locks" for each in ("trees", "packages", "scratch", "bases", "store", "store/compressed")}
    folders = [(home, 0)]
    while folders:
        folder, depth = folders.pop()
        kind = folder.relative_to(home).parts[:1]
        is_last = bool(kind) and depth >= _DEPTHS.get(kind[0], depth + 1)
        # data and runs that are on are written without the home: a writer may be about to lock what it has just made
        youngest = _BEGINNING if kind == ("data",) or (kind == ("runs",) and is_last) else float("-inf")
        for entry in _entries(folder):
            if entry in locks or (atomic.is_leftover(entry) and _age(entry) >= youngest):
                yield entry
            elif not is_last and _is_plain_folder(entry):
                folders.append((entry, depth + 1))


def _scratch(home: Path, marks: Marks) -> list[Path]:
    """Merged folders and the working folders of runs that ended; while a job runs, merged folders stay."""
    return [
        entry
        for entry in _entries(home / "scratch")
        if (
            entry.name.removeprefix("run-") not in marks.active_runs
            if entry.name.startswith("run-")
            else not marks.active_runs and not entry.name.startswith(".")
        )
    ]


def _unmarked(folder: Path, is_marked: Callable[[str], bool]) -> list[Path]:
    return [entry for entry in _entries(folder) if not entry.name.startswith(".") and not is_marked(entry.name)]


def _blobs(home: Path, marks: Marks) -> dict[str, list[Path]]:
    """Documents and layers of images that are gone; and what was compressed for layers that are not warm."""
    records, compressed, kept = [], set(), set()
    for record in _entries(home / "store/compressed"):
        if record.name.startswith("."):
            continue
        digest = _compressed_digest(record)
        if record.name.partition(".")[0] in marks.layers:
            kept.add(digest)
        else:
            records.append(record)
            compressed.add(digest)
    blobs = _unmarked(home / "store/blobs/sha256", lambda name: name in marks.blobs or name in kept)
    return {
        "images": [blob for blob in blobs if blob.name not in compressed],
        "compressed": [*records, *(blob for blob in blobs if blob.name in compressed)],
    }


def _compressed_digest(record: Path) -> str:
    try:
        return str(json.loads(record.read_bytes())["digest"]).removeprefix("sha256:")
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _old_logs(home: Path) -> list[Path]:
    logs = [entry for entry in _entries(home / "logs") if not entry.name.startswith(".")]
    return sorted(logs, key=_age)[KEEP_LOGS:]


def _is_base_marked(folder: Path, marks: Marks) -> bool:
    return any(folder.parent.name.startswith(name) and version == int(folder.name) for name, version in marks.bases)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0


class _Counter:
    """Bytes that removing paths frees: a file with several names is freed with its last one, and counted once."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._sizes: dict[Path, int] = {}
        left: dict[tuple[int, int], int] = {}
        for path in paths:
            size = 0
            for status in _statuses(path):
                key = (status.st_dev, status.st_ino)
                names = left.get(key, status.st_nlink) - 1 if not _is_folder(status) else 0
                left[key] = names
                if names == 0:
                    size += status.st_blocks * 512
            self._sizes[path] = size

    def size(self, path: Path) -> int:
        return self._sizes[path]


def _statuses(path: Path) -> Iterator[os.stat_result]:
    """`path` and everything below it."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    yield status
    if not _is_folder(status):
        return
    folders = [str(path)]
    while folders:
        try:
            with os.scandir(folders.pop()) as scan:
                for entry in scan:
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except OSError:  # it vanished, or nobody may look into it
            continue


def _is_folder(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode)
