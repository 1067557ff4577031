"""Files below a run's folder, opened as what they are: written by a job, which may have put a link or a pipe there.

Each part of a path is opened by itself and no link is followed, so that a job which changes its files meanwhile cannot
lead out of the folder either.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

_DEEPEST = 64
"""Levels of folders that are looked into; only a job that has run away makes more."""


def open_inside(folder: Path, name: str) -> BinaryIO | None:
    """The regular file `name` (a relative path with `/`) below `folder`, for reading; `None` when it is none."""
    parents, _, last = name.rpartition("/")
    if last in ("", ".", ".."):
        return None
    with _folder(folder, parents) as place:
        if place is None:
            return None
        try:
            # without O_NONBLOCK the opening of a pipe would wait for its writer
            file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
        except (OSError, ValueError):
            return None
    if stat.S_ISREG(os.fstat(file).st_mode):
        return os.fdopen(file, "rb")
    os.close(file)
    return None


def files_inside(folder: Path, name: str = "") -> Iterator[str]:
    """The paths, relative to `folder`, of every regular file below `folder/name`, a folder's own first."""
    waiting = [(name, 0)]
    while waiting:
        path, depth = waiting.pop()
        with _folder(folder, path) as place:
            folders, files = _entries(place) if place is not None else ([], [])
        yield from (os.path.join(path, file) for file in files)
        if depth < _DEEPEST:
            waiting += [(os.path.join(path, each), depth + 1) for each in reversed(folders)]


def folders_inside(folder: Path, name: str = "") -> list[str]:
    """The paths, relative to `folder`, of the folders directly in `folder/name`, sorted."""
    with _folder(folder, name) as place:
        if place is None:
            return []
        with os.scandir(place) as scan:
            return sorted(os.path.join(name, entry.name) for entry in scan if entry.is_dir(follow_symlinks=False))


@contextmanager
def _folder(folder: Path, name: str) -> Iterator[int | None]:
    """A descriptor of the folder `folder/name`; `None` when it is none."""
    place = None
    try:
        try:
            place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            for part in name.split("/") if name else ():
                if part in ("", ".", ".."):
                    raise NotADirectoryError(name)
                inner = os.open(part, _FOLDER, dir_fd=place)
                os.close(place)
                place = inner
        except (OSError, ValueError):
            if place is not None:
                os.close(place)
            place = None
        yield place
    finally:
        if place is not None:
            os.close(place)


def _entries(place: int) -> tuple[list[str], list[str]]:
    """The names of the folders and of the regular files in an open folder, each sorted."""
    folders, files = [], []
    try:
        with os.scandir(place) as scan:
            for entry in scan:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
    except OSError:  # removed meanwhile
        pass
    return sorted(folders), sorted(files)
