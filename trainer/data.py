"""Data sets: content-addressed, versioned, each file kept once, mounted read-only into runs.

    data/files/SHA256            contents, shared by all data sets
    data/sets/NAME/VERSION/      data.json {name, version, digest, files, size, created, source}  files.json  content/

`content/` shows the files by hard links, so that a run mounts it as it is. The digest is the sha256 of the list of
(path, size, sha256): the same files never make a new version.
"""

import difflib
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.builder import atomic
from envbuild.builder.report import Reporter
from envbuild.errors import InputError, NotFound, StoreError

from .content import Content, Unsteady, keep_file, link_file
from .run import list_runs, now

_NAME = re.compile(r"[a-zA-Z_]\w{0,127}")
"""A name that `{NAME}` in a script's arguments can have."""


@dataclass(frozen=True)
class DataVersion:
    """One version of a data set."""

    name: str
    version: int
    digest: str
    """`sha256:<hex>` of the list of files."""
    files: int
    size: int
    """Bytes."""
    created: str
    source: str
    """Where it was put from."""
    folder: Path

    @property
    def reference(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def content(self) -> Path:
        """The folder that a run mounts."""
        return self.folder / "content"

    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {**{key: value for key, value in vars(self).items() if key != "folder"}, "folder": str(self.content)}


def put_data(source: Path, name: str, home: Path, reporter: Reporter) -> tuple[DataVersion, bool]:
    """Keep the folder (or file) `source` as the next version of `name`; and whether it is a new one.

    Raises:
        InputError: `name` cannot be one, or `source` holds what cannot be kept (a pipe, a link that leaves it).
        StoreError: the disk is full.
    """
    _check_name(name)
    if not source.exists():
        raise InputError(f"{source} does not exist; name the folder that holds the data")
    found = sorted(_walk(source))
    files = []
    try:
        with reporter.task("data", sum(size for _, _, size in found)) as task:
            for path, place, size in found:
                content = _keep(place, home / "data" / "files")
                files.append({"path": path, "size": content.size, "sha256": content.sha256})
                task.advance(size)
        return _add_version(name, files, source, home)
    except OSError as error:
        raise StoreError(f"the data of {source} cannot be kept: {error.strerror or error}; make room") from error


def load_data(home: Path, reference: str) -> DataVersion:
    """The data set `NAME` (its newest version) or `NAME:VERSION`.

    Raises:
        NotFound: there is none; the message lists what there is.
    """
    name, colon, version = reference.partition(":")
    known = _versions(home, name) if _NAME.fullmatch(name) else []
    if not known:
        raise NotFound(f"no data set is called {name!r}; {_hint(name, _names(home))}")
    if colon and (not version.isdecimal() or int(version) not in known):
        raise NotFound(f"{name} has no version {version!r}; it has {', '.join(map(str, known))}")
    return _read(home, name, int(version) if colon else known[-1])


def list_data(home: Path) -> list[DataVersion]:
    """Every version of every data set, by name and version."""
    return [_read(home, name, version) for name in _names(home) for version in _versions(home, name)]


def list_files(data: DataVersion) -> list[dict[str, Any]]:
    """Each file's `path`, `size` and `sha256`, by path."""
    files: list[dict[str, Any]] = json.loads((data.folder / "files.json").read_bytes())
    return files


def remove_data(data: DataVersion, home: Path) -> int:
    """Remove one version, and every content that nothing else shows; return the bytes that became free.

    Raises:
        InputError: a run that has not ended uses it.
    """
    for run in list_runs(home):
        used = (run.document.get("data") or {}).values()
        if not run.is_final and any(each["digest"] == data.digest for each in used):
            raise InputError(f"{run.run_id} is {run.state} and uses {data.reference}; cancel it first, or wait")
    with atomic.key_lock(home / "data", "sets"):
        gone = data.folder.with_name(f".tmp-removed-{data.version}")
        data.folder.rename(gone)
        atomic.remove_tree(gone)
        if not _versions(home, data.name):
            atomic.remove_tree(data.folder.parent)
        kept = {file["sha256"] for each in list_data(home) for file in list_files(each)}
        freed = 0
        for file in (home / "data" / "files").iterdir():
            if file.name in kept or file.name.startswith("."):  # the latter is somebody's work in progress
                continue
            status = file.stat()
            if status.st_nlink == 1:  # more: a datastore shows it, and nothing would become free
                freed += status.st_size
                file.unlink()
    return freed


def _add_version(name: str, files: list[dict[str, Any]], source: Path, home: Path) -> tuple[DataVersion, bool]:
    listing = json.dumps(files, sort_keys=True).encode()
    digest = f"sha256:{hashlib.sha256(listing).hexdigest()}"
    with atomic.key_lock(home / "data", "sets"):
        versions = _versions(home, name)
        for version in versions:
            known = _read(home, name, version)
            if known.digest == digest:
                return known, False
        version = max(versions, default=0) + 1
        document = {
            "name": name, "version": version, "digest": digest, "files": len(files),
            "size": sum(file["size"] for file in files), "created": now(), "source": str(source.resolve()),
        }  # fmt: skip
        with atomic.new_folder(home / "data" / "sets" / name / str(version)) as target:
            _show(files, home / "data" / "files", target / "content")
            (target / "files.json").write_bytes(listing)
            (target / "data.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    return _read(home, name, version), True


def _show(files: list[dict[str, Any]], store: Path, target: Path) -> None:
    target.mkdir()
    for file in files:
        place = target / file["path"]
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            link_file(store / file["sha256"], place)
        except FileNotFoundError:  # removed with another data set between our reading and now
            raise StoreError(f"{file['path']} was removed while it was put; put it again") from None


def _walk(source: Path) -> Iterator[tuple[str, Path, int]]:
    """Path in the data set, place and size of every file."""
    root = source.resolve()
    if root.is_file():
        yield source.name, root, root.stat().st_size
        return
    for folder, folders, names in os.walk(source, onerror=_refuse):
        for name in [*names, *(each for each in folders if os.path.islink(os.path.join(folder, each)))]:
            place = Path(folder, name)
            if place.is_symlink() and not place.resolve().is_relative_to(root):
                raise InputError(f"{place} is a link that leaves {source}; put what it points to")
            if place.is_dir():
                raise InputError(f"{place} is a link to a folder; a data set holds files only")
            try:
                status = place.stat()
            except OSError as error:
                raise InputError(f"{place} cannot be read: {error.strerror}") from None
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{place} is no plain file; a data set holds files only")
            yield str(place.relative_to(source)), place, status.st_size


def _refuse(error: OSError) -> None:
    """A folder that cannot be read is not left out in silence."""
    raise InputError(f"{error.filename} cannot be read: {error.strerror}")


def _keep(place: Path, store: Path) -> Content:
    try:
        return keep_file(place, store)
    except Unsteady:
        raise InputError(f"{place} changed while it was read; stop what writes it, and put the data again") from None
    except PermissionError:
        raise InputError(f"{place} cannot be read; allow it") from None


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot name a data set: use letters, digits and '_', and begin with a letter")


def _names(home: Path) -> list[str]:
    folder = home / "data" / "sets"
    return sorted(each.name for each in folder.iterdir() if _versions(home, each.name)) if folder.is_dir() else []


def _hint(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"did you mean {near[0]}?"
    return f"known: {', '.join(known)}" if known else "none is kept yet: envbuild data put DIR NAME"


def _versions(home: Path, name: str) -> list[int]:
    try:
        return sorted(int(each.name) for each in (home / "data" / "sets" / name).iterdir() if each.name.isdecimal())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(home: Path, name: str, version: int) -> DataVersion:
    folder = home / "data" / "sets" / name / str(version)
    try:
        document = json.loads((folder / "data.json").read_bytes())
        return DataVersion(**document, folder=folder)
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{folder / 'data.json'} cannot be read ({error}); remove {folder}") from None
