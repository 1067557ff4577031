"""Packages in, finished layer trees with their diffIDs out: the parallel part of a build.

A piece or layer that exists already is taken as it is. Two threads work, largest package first: decompression,
hashing and writing happen outside Python's interpreter lock. The packages that adapt to Python are one job of their
own, because the environment's Python, once unpacked, compiles them together. Every tree gets its name only when it is
complete; a killed build leaves temporary folders that the next one sweeps away.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import StoreError
from envbuild.settings import Settings

from . import atomic
from .base import Base
from .compile import compile_sources
from .image import Layer
from .layer import FORMAT_VERSION, tree_digest
from .pack import Python, adapts_to_python, piece_key, unpack
from .package import Package
from .plan import Plan, PlannedLayer
from .report import Reporter
from .sandbox import RootFilesystem, merge_trees

NAME_LENGTH = 16
"""Hex digits of a tree's name: overlay mounts take 4096 bytes of options, so names are short."""


@dataclass(frozen=True)
class Pieces:
    """The finished layers of a plan, and how much of it was new."""

    layers: tuple[Layer, ...]
    packed: int
    """Packages that had to be unpacked; the others were there."""


def find_python(packages: Iterable[Package]) -> Python | None:
    """The Python of an environment, or `None` for one without."""
    for package in packages:
        if package.is_python:
            return Python(".".join(package.locked.version.split(".")[:2]), package.locked.sha256)
    return None


def build_layers(plan: Plan, base: Base, settings: Settings, reporter: Reporter) -> Pieces:
    """Unpack what is missing, and return every layer of `plan` with its diffID.

    Raises:
        PackageError: a package is damaged or refused.
        SandboxError: code must be compiled, and no sandbox is usable.
        StoreError: the disk is full.
    """
    trees = settings.home / "trees"
    trees.mkdir(parents=True, exist_ok=True)
    atomic.sweep(trees)
    packages = [package for layer in plan.layers for package in layer.packages]
    work = _Work(packages, base, settings, reporter)
    try:
        with reporter.task("pack", sum(package.size for package in packages)) as task:
            work.unpack_all(task.advance)
        with ThreadPoolExecutor(_workers(settings)) as pool:
            layers = tuple(pool.map(work.layer, plan.layers))
    except OSError as error:
        raise StoreError(
            f"{trees} cannot be written ({error.strerror or error}); make room and register again"
        ) from error
    return Pieces(layers, work.packed)


class _Work:
    """What the jobs of one build share."""

    def __init__(self, packages: Sequence[Package], base: Base, settings: Settings, reporter: Reporter) -> None:
        self._python = find_python(packages)
        self._packages = sorted(packages, key=lambda each: (-each.size, each.locked.name))
        self._base = base
        self._settings = settings
        self._reporter = reporter
        self._trees = settings.home / "trees"
        self._counting = threading.Lock()
        self.packed = 0

    def unpack_all(self, advance: Callable[[int], None]) -> None:
        """Make every piece that is missing."""
        runtime = [package for package in _closure("python", self._packages) if not adapts_to_python(package)]
        adapting = [package for package in self._packages if adapts_to_python(package)]
        plain = [package for package in self._packages if not adapts_to_python(package)]
        others = [package for package in plain if package not in runtime]
        with ThreadPoolExecutor(_workers(self._settings)) as pool:
            # The largest first: it decides how long everything takes. Then Python, for which compiling waits.
            first = [pool.submit(self._unpack_one, package, advance) for package in others[:1]]
            ready = [pool.submit(self._unpack_one, package, advance) for package in runtime]
            jobs = [pool.submit(self._unpack_one, package, advance) for package in others[1:]]
            try:
                for job in ready:
                    job.result()
                compiled = pool.submit(self._unpack_adapting, adapting, runtime, advance)
                for job in (*first, *jobs, compiled):
                    job.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def layer(self, planned: PlannedLayer) -> Layer:
        """The finished layer: a package's own piece, or a bin of several, hard-linked."""
        keys = [piece_key(package, self._python) for package in planned.packages]
        if len(keys) == 1:
            name = keys[0][:NAME_LENGTH]
        else:
            name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:NAME_LENGTH]
            with atomic.key_lock(self._trees, name):
                if not (self._trees / name).is_dir():
                    with atomic.new_folder(self._trees / name) as target:
                        merge_trees([self._trees / key[:NAME_LENGTH] for key in keys], target)
        diff_id, size = layer_digest(self._trees, name)
        titles = tuple(f"{package.locked.name} {package.locked.version}" for package in planned.packages)
        return Layer(diff_id, size, name, planned.title, titles)

    def _unpack_one(self, package: Package, advance: Callable[[int], None]) -> None:
        name = piece_key(package, self._python)[:NAME_LENGTH]
        with atomic.key_lock(self._trees, name):
            if not (self._trees / name).is_dir():
                with atomic.new_folder(self._trees / name) as tree:
                    unpack(package, tree, self._python)
                self._count(package)
                layer_digest(self._trees, name)
        advance(package.size)

    def _unpack_adapting(
        self, packages: Sequence[Package], runtime: Sequence[Package], advance: Callable[[int], None]
    ) -> None:
        """Unpack the packages that adapt to Python, and compile all of them in one sandbox."""
        named = {piece_key(package, self._python)[:NAME_LENGTH]: package for package in packages}
        with ExitStack() as stack:
            trees = []
            for name, package in sorted(
                named.items(), key=lambda pair: pair[0]
            ):  # one order for all, so two builds never wait for each other
                stack.enter_context(atomic.key_lock(self._trees, name))
                if not (self._trees / name).is_dir():
                    tree = stack.enter_context(atomic.new_folder(self._trees / name))
                    unpack(package, tree, self._python)
                    self._count(package)
                    trees.append(tree)
            if trees and self._python:
                for note in self._compile(trees, runtime, self._python):
                    self._reporter.log("compile", note)
        for package in packages:
            advance(package.size)

    def _compile(self, trees: Sequence[Path], runtime: Sequence[Package], python: Python) -> list[str]:
        below = [self._trees / piece_key(package, python)[:NAME_LENGTH] for package in runtime]
        root = RootFilesystem((self._base.tree, *below))
        return compile_sources(self._settings, root, trees, python.site_packages, self._settings.home / "scratch")

    def _count(self, package: Package) -> None:
        with self._counting:
            self.packed += 1
        self._reporter.log("pack", f"{package.locked.filename}: {len(package.paths)} paths, {package.size} bytes")


def layer_digest(trees: Path, name: str) -> tuple[str, int]:
    """diffID and size of the tree `name`, from the record beside it; made once."""
    record = trees / f"{name}.json"
    try:
        known = json.loads(record.read_bytes())
        if known["format"] == FORMAT_VERSION:
            return str(known["diff_id"]), int(known["size"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    diff_id, size = tree_digest(trees / name)
    atomic.write_file(record, json.dumps({"diff_id": diff_id, "size": size, "format": FORMAT_VERSION}).encode())
    return diff_id, size


def _closure(root: str, packages: Sequence[Package]) -> list[Package]:
    """The conda package `root` and everything that it needs, in the order of `packages`."""
    by_name = {package.locked.name: package for package in packages if package.locked.manager == "conda"}
    wanted, found = [root], set()
    while wanted:
        name = wanted.pop()
        if name in by_name and name not in found:
            found.add(name)
            wanted += by_name[name].locked.depends
    return [package for package in packages if package.locked.manager == "conda" and package.locked.name in found]


def _workers(settings: Settings) -> int:
    return settings.workers or min(os.cpu_count() or 1, 4)
