"""A source folder in, a content-addressed snapshot out: limits first, then every file once.

snapshots/files/SHA256        contents, shared by all snapshots
snapshots/ID.json             [{path, mode, size, sha256}], ID = sha256 of this list
"""

import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.builder import atomic
from envbuild.builder.report import Reporter
from envbuild.errors import NotFound, SnapshotError, StoreError
from envbuild.settings import SnapshotLimits

from .content import Unsteady, keep_file

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILES = (".amlignore", ".envbuildignore", ".gitignore")
"""The first one at the root counts; like Azure ML's, `.amlignore` replaces `.gitignore`."""

_NEVER = {".git", "__pycache__", ".azureml", ".envbuild", ".ipynb_checkpoints"}
_SECRET = re.compile(
    r"(^|/)(\.env(\..*)?|id_(rsa|dsa|ecdsa|ed25519)|.*\.(pem|p12|pfx|key)|\.netrc|credentials(\.json)?)$"
)
_TRIES = 3


@dataclass(frozen=True)
class SnapshotFile:
    """One file of a snapshot."""

    path: str
    """Relative to the source folder."""
    mode: int
    """0o755 or 0o644."""
    size: int
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """What a source folder held."""

    id: str
    """sha256 (hex) of the list of files."""
    files: tuple[SnapshotFile, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


def take_snapshot(source: Path, home: Path, limits: SnapshotLimits, reporter: Reporter) -> Snapshot:
    """Keep the content of `source`, after checking that it is within `limits`.

    Raises:
        SnapshotError: `source` is no folder, too big, or holds what no snapshot can (a link that leaves it, a socket).
        StoreError: the home folder cannot be written.
    """
    if not source.is_dir():
        raise SnapshotError(f"{source} is not a folder; name the folder that holds the script")
    try:
        found = _walk(source)
    except PermissionError as error:
        where = _ignore_file(source).name
        raise SnapshotError(f"{error.filename} cannot be read; allow it, or ignore it in {where}") from None
    _check_limits(source, found, limits)
    for path, _ in found:
        if _SECRET.search(path):
            where = _ignore_file(source).name
            reporter.say(f"warning: {path} looks like a secret and is part of the snapshot; ignore it in {where}")
    try:
        files = tuple(_keep(source, path, home) for path, _ in found)
        listing = json.dumps([file.__dict__ for file in files], sort_keys=True).encode()
        snapshot = Snapshot(hashlib.sha256(listing).hexdigest(), files)
        atomic.write_file(home / "snapshots" / f"{snapshot.id}.json", listing)
    except OSError as error:
        raise StoreError(f"the snapshot of {source} cannot be kept: {error.strerror or error}") from error
    return snapshot


def load_snapshot(snapshot_id: str, home: Path) -> Snapshot:
    """The snapshot that was kept as `snapshot_id`.

    Raises:
        NotFound: it is gone, or one of its files is.
    """
    try:
        listing = json.loads((home / "snapshots" / f"{snapshot_id}.json").read_bytes())
        snapshot = Snapshot(snapshot_id, tuple(SnapshotFile(**file) for file in listing))
    except (OSError, ValueError, TypeError):
        raise NotFound(f"the snapshot {snapshot_id[:12]} is not kept any more; run the source folder again") from None
    for file in snapshot.files:
        if not (home / "snapshots" / "files" / file.sha256).is_file():
            raise NotFound(f"the snapshot {snapshot_id[:12]} has lost {file.path}; run the source folder again")
    return snapshot


def materialise(snapshot: Snapshot, home: Path, target: Path) -> None:
    """Write the files of `snapshot` to the folder `target`, writable for a job."""
    target.mkdir(parents=True, exist_ok=True)
    for file in snapshot.files:
        path = target / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(home / "snapshots" / "files" / file.sha256, path)
        path.chmod(file.mode)


def _walk(source: Path) -> list[tuple[str, int]]:
    """Every file that belongs to the snapshot with its size, sorted by path."""
    ignore = _ignore_rules(source)
    root = source.resolve()
    found: list[tuple[str, int]] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        with os.scandir(source / folder) as scan:
            for entry in scan:
                path = f"{folder}{entry.name}"
                if entry.name in _NEVER or ignore.match_file(path + "/" if entry.is_dir() else path):
                    continue
                if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
                    raise SnapshotError(
                        f"{entry.path} is a link that leaves {source}; copy what it points to, or ignore it"
                    )
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{path}/")
                elif entry.is_symlink() and entry.is_dir():
                    raise SnapshotError(f"{entry.path} is a link to a folder; a snapshot holds files only: ignore it")
                elif not entry.is_file():
                    raise SnapshotError(
                        f"{entry.path} is no plain file (a socket, pipe or broken link); remove or ignore it"
                    )
                else:
                    found.append((path, entry.stat().st_size))
    return sorted(found)


def _ignore_file(source: Path) -> Path:
    """The one that counts, or would. A further line has to go there: in another it would mean nothing, and a new file
    could put the one that counts out of force."""
    there = (source / name for name in IGNORE_FILES if (source / name).is_file())
    return next(there, source / ".envbuildignore")


def _ignore_rules(source: Path) -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec

    file = _ignore_file(source)
    try:
        return GitIgnoreSpec.from_lines(file.read_text(encoding="utf-8").splitlines() if file.is_file() else [])
    except (ValueError, UnicodeDecodeError) as error:
        raise SnapshotError(f"{file} cannot be understood: {error}") from None


def _check_limits(source: Path, found: Sequence[tuple[str, int]], limits: SnapshotLimits) -> None:
    total = sum(size for _, size in found)
    if total <= limits.max_size and len(found) <= limits.max_files:
        return
    entries: dict[str, list[int]] = {}
    for path, size in found:
        top = path.split("/")[0] + ("/" if "/" in path else "")
        entries.setdefault(top, []).append(size)
    weight = sum if total > limits.max_size else len  # within the size, it is the number of files that has to shrink
    largest = sorted(entries.items(), key=lambda item: (-weight(item[1]), item[0]))[:10]
    lines = [f"  {sum(sizes) / 1024**2:10.1f} MiB  {len(sizes):6} files  {name}" for name, sizes in largest]
    raise SnapshotError(
        f"Your total snapshot size exceeds the limit: {source} holds {total / 1024**2:.1f} MiB in {len(found)} files, "
        f"the limits are {limits.max_size / 1024**2:.0f} MiB and {limits.max_files} files. The largest entries:\n"
        + "\n".join(lines)
        + f"\nMove data out of the folder and mount it (--mount data=PATH), or ignore it: "
        f"echo '/{largest[0][0]}' >> {shlex.quote(str(_ignore_file(source)))}"
    )


def _keep(source: Path, path: str, home: Path) -> SnapshotFile:
    """Read one file, and keep its content when it is new."""
    for _ in range(_TRIES):
        try:
            content = keep_file(source / path, home / "snapshots" / "files")
        except Unsteady:
            continue
        mode = 0o755 if os.stat(source / path).st_mode & 0o100 else 0o644
        return SnapshotFile(path, mode, content.size, content.sha256)
    raise SnapshotError(f"{source / path} keeps changing while it is read; stop what writes it, or ignore it")
