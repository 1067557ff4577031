"""Compiled code (`.pyc`) for the pieces that bring only source: noarch python packages and wheels.

conda clients compile at installation; an image is read-only, so a missing `.pyc` would cost every start (importing
torch and torchvision: 8 s of CPU without, 3.3 s with). The environment's own Python does it, inside the sandbox, with
a fixed hash seed. The files are *unchecked-hash* ones (PEP 552): no time enters them. Each package is compiled by a
process forked from the same state, because the marshalled bytes depend on which strings the interpreter has already
seen. Folders named `tests` are left out: nothing imports them in a job, and they are half of some packages.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from envbuild.errors import PackageError
from envbuild.settings import Settings

from . import compile_job
from .plan import PREFIX
from .sandbox import Mount, RootFilesystem, run_in_sandbox

_LEFT_OUT = re.compile(r"/tests?/")


def compile_sources(
    settings: Settings, root: RootFilesystem, trees: Sequence[Path], site_packages: str, scratch: Path
) -> list[str]:
    """Compile every `.py` below `site_packages` of each piece in `trees`; return notes on files that do not compile.

    `root` is the base and the Python with what it needs.

    Raises:
        SandboxError: no sandbox is usable here.
        PackageError: the environment's Python cannot run.
    """
    pieces = [_sources(tree, site_packages) for tree in trees]
    if not any(pieces):
        return []
    mounts = [Mount(tree, f"/pieces/{number}", writable=True) for number, tree in enumerate(trees)]
    mounts.append(Mount(Path(compile_job.__file__).resolve(), "/envbuild/compile_job.py"))
    done = run_in_sandbox(
        settings,
        root,
        [f"{PREFIX}/bin/python", "-I", "-B", "/envbuild/compile_job.py"],
        mounts=mounts,
        env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        input=json.dumps(pieces).encode(),
        scratch=scratch,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise PackageError(f"the environment's Python could not compile its packages: {' '.join(last)}")
    for tree, sources in zip(trees, pieces, strict=True):
        _normalise(tree, sources)
    return done.stdout.decode(errors="replace").splitlines()


def _sources(tree: Path, site_packages: str) -> list[str]:
    """The files to compile, relative to `tree`, in a fixed order; those with a `.pyc` of their own are left alone."""
    root = tree / PREFIX.lstrip("/") / site_packages
    found = []
    for folder, _, names in os.walk(root):
        relative = os.path.relpath(folder, tree)
        for name in names:
            path = f"{relative}/{name}"
            if name.endswith(".py") and not _LEFT_OUT.search(path):
                found.append(path)
    return sorted(found)


def _normalise(tree: Path, sources: Sequence[str]) -> None:
    """Give the new files and their folders the modes and times of a piece."""
    for folder in {os.path.join(tree, os.path.dirname(source)) for source in sources}:
        cache = os.path.join(folder, "__pycache__")
        if not os.path.isdir(cache):
            continue
        os.chmod(cache, 0o755)
        with os.scandir(cache) as scan:
            for entry in scan:
                source = os.path.join(folder, entry.name.split(".")[0] + ".py")
                mtime = int(os.stat(source).st_mtime) if os.path.exists(source) else 0
                os.chmod(entry.path, 0o644)
                os.utime(entry.path, (mtime, mtime))
