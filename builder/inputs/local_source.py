"""A file or folder that a pip line names, and the digest of what it holds."""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from envbuild.errors import SpecError

from ..file_digest import sha256_of

_MAX_BYTES = 300 << 20
_LEFT_OUT = re.compile(r"\..*|__pycache__|.*\.egg-info|node_modules|.*\.pyc")
_LEFT_OUT_AT_TOP = ("build", "dist")


def content_digest(path: Path) -> str:
    """The sha256 (hex) of a file, or of the names, modes and contents of a folder's files.

    Raises:
        SpecError: there is nothing at `path`, or too much, or something of it cannot be read.
    """
    if path.is_file():
        return sha256_of(path)
    if not path.is_dir():
        raise SpecError(f"{path} does not exist; paths of pip lines count from the folder of the environment file")
    if not (path / "pyproject.toml").is_file() and not (path / "setup.py").is_file():
        raise SpecError(f"{path} holds neither pyproject.toml nor setup.py, so pip cannot install it")
    try:
        return _digest_of_folder(path)
    except OSError as error:
        raise SpecError(f"{error.filename or path} cannot be read: {error.strerror or error}") from None


def _digest_of_folder(path: Path) -> str:
    digest, size = hashlib.sha256(), 0
    for file in source_files(path):
        status = file.stat()
        size += status.st_size
        if size > _MAX_BYTES:
            raise SpecError(f"{path} holds more than {_MAX_BYTES >> 20} MiB; keep data out of the folder of a package")
        executable = bool(status.st_mode & stat.S_IXUSR)  # access(2) would ask for this user, on this mount
        content = sha256_of(file)
        name = os.fsencode(file.relative_to(path).as_posix())
        digest.update(name + f"\0{executable:d}\0{content}\n".encode())
    return digest.hexdigest()


def source_files(folder: Path, *, top: bool = True) -> Iterator[Path]:
    """The files of a package's folder, sorted: without hidden ones, build results, caches and environments."""
    for entry in sorted(folder.iterdir()):
        if _LEFT_OUT.fullmatch(entry.name) or entry.is_symlink():
            continue
        if entry.is_file():
            yield entry
        elif not entry.is_dir() or (top and entry.name in _LEFT_OUT_AT_TOP) or (entry / "pyvenv.cfg").exists():
            continue  # a socket or pipe is nothing of a package either
        else:
            yield from source_files(entry, top=False)
