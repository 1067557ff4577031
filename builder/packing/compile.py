"""Compiled code (`.pyc`) for the pieces that bring only source: noarch python packages and wheels.

conda clients compile at installation; an image is read-only, so a missing `.pyc` would cost every start (importing
torch and torchvision: 8 s of CPU without, 3.3 s with). The environment's own Python does it, inside the sandbox, with
a fixed hash seed. The files are *unchecked-hash* ones (PEP 552): no time enters them. Sources go in chunks that depend
on nothing but the package, each compiled by a process forked from the same state: the marshalled bytes depend on which
strings the interpreter has already seen, and so the number of processes at work does not show. Folders named `tests`
are left out: nothing imports them in a job, and they are half of some packages.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import PackageError
from envbuild.settings import Settings

from ..plan import PREFIX
from ..sandbox.command import Mount, RootFilesystem
from ..sandbox.run import run_in_sandbox
from . import compile_job

_LEFT_OUT = re.compile(r"/tests?/")
_CHUNK_SIZE = 1 << 20
"""Bytes of source after which a chunk ends; part of the result (`PACKER_VERSION`)."""


@dataclass(frozen=True)
class _Chunk:
    """Some of a piece's sources, compiled one after the other by one process."""

    piece: int
    paths: tuple[str, ...]
    size: int
    """Bytes of source."""


def compile_sources(
    settings: Settings, root: RootFilesystem, trees: Sequence[Path], site_packages: str, workers: int
) -> list[str]:
    """Compile every `.py` below `site_packages` of each piece in `trees`; return notes on files that do not compile.

    `root` is the base and the Python with what it needs; `workers` processes work at a time.

    Raises:
        SandboxError: no sandbox is usable here.
        PackageError: the environment's Python cannot run.
    """
    chunks = [chunk for number, tree in enumerate(trees) for chunk in _chunks(number, tree, site_packages)]
    if not chunks:
        return []
    chunks.sort(key=lambda chunk: -chunk.size)  # what takes longest begins first
    mounts = [Mount(tree, f"/pieces/{number}", writable=True) for number, tree in enumerate(trees)]
    mounts.append(Mount(Path(compile_job.__file__).resolve(), "/envbuild/compile_job.py"))
    request = {"workers": workers, "chunks": [(chunk.piece, chunk.paths) for chunk in chunks]}
    done = run_in_sandbox(
        settings,
        root,
        [f"{PREFIX}/bin/python", "-I", "-B", "-W", "ignore", "/envbuild/compile_job.py"],
        mounts=mounts,
        env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        input=json.dumps(request).encode(),
        scratch=settings.home / "scratch",
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-2:]  # the reason, and what came of it
        raise PackageError(f"the environment's Python could not compile its packages: {'; '.join(last)}")
    return done.stdout.decode(errors="replace").splitlines()


def _chunks(piece: int, tree: Path, site_packages: str) -> list[_Chunk]:
    """The sources of a piece in their order, cut where a chunk has reached its size."""
    chunks = []
    paths: list[str] = []
    size = 0
    for path, length in _sources(tree, site_packages):
        paths.append(path)
        size += length
        if size >= _CHUNK_SIZE:
            chunks.append(_Chunk(piece, tuple(paths), size))
            paths, size = [], 0
    return [*chunks, _Chunk(piece, tuple(paths), size)] if paths else chunks


def _sources(tree: Path, site_packages: str) -> list[tuple[str, int]]:
    """The files to compile, relative to `tree`, with their sizes in bytes, in a fixed order."""
    root = tree / PREFIX.lstrip("/") / site_packages
    found = []
    for folder, _, names in os.walk(root):
        relative = os.path.relpath(folder, tree)
        for name in names:
            path = f"{relative}/{name}"
            # a link that leads to no file, as an editor's lock does, cannot be read in the sandbox either
            if name.endswith(".py") and not _LEFT_OUT.search(path) and os.path.isfile(f"{folder}/{name}"):
                found.append((path, os.lstat(f"{folder}/{name}").st_size))
    return sorted(found)
