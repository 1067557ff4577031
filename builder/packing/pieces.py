"""Packages in, finished layer trees with their diffIDs out: the parallel part of a build.

A piece or layer that exists already is taken as it is. Threads work, the largest package first: decompression, hashing
and writing happen outside Python's interpreter lock. The packages that adapt to Python are compiled together, by
processes of the environment's Python, as soon as it and they are unpacked; the others go on meanwhile. Every tree gets
its name only when it is complete; a killed build leaves temporary folders that the next one sweeps away.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.errors import StoreError
from envbuild.settings import Settings

from .. import atomic
from ..bases.base import Base
from ..image import Layer
from ..layers.layer import FORMAT_VERSION, tree_digest
from ..plan import Plan, PlannedLayer
from ..platforms import can_execute
from ..report import Reporter
from ..sandbox.command import RootFilesystem
from ..sandbox.merge import merge_trees
from .compile import compile_sources
from .pack import Python, adapts_to_python, piece_key, unpack
from .package import Package

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
            minor = ".".join(package.locked.version.split(".")[:2])
            return Python(minor, package.locked.sha256, runs=can_execute(package.locked.subdir))
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
        with reporter.task("pack", sum(package.size for package in work.missing)) as task:
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
        self.missing = [each for each in self._packages if not (self._trees / self._name(each)).is_dir()]
        self.packed = 0

    def unpack_all(self, advance: Callable[[int], None]) -> None:
        """Make every piece that is missing, and find the digests."""
        runtime = [package for package in _closure("python", self._packages) if not adapts_to_python(package)]
        adapting = [package for package in self._packages if adapts_to_python(package)]
        others = [each for each in self._packages if not adapts_to_python(each) and each not in runtime]
        with ThreadPoolExecutor(_workers(self._settings)) as pool:

            def start(packages: Iterable[Package]) -> list[Future[None]]:
                return [pool.submit(self._unpack_one, package, advance) for package in packages]

            # The largest first: it decides how long everything takes. Then Python, for which compiling waits.
            jobs = start(others[:1])
            ready = start(runtime)
            try:
                with ExitStack() as stack:
                    trees = self._start_adapting(adapting, pool, stack, advance)
                    jobs += start(others[1:])
                    if trees and self._python and self._python.runs:
                        _wait_for(ready)
                        _wait_for(trees.values())
                        self._compile(list(trees), runtime, self._python)
                    _wait_for(trees.values())
                digests = [pool.submit(layer_digest, self._trees, self._name(package)) for package in adapting]
                _wait_for((*ready, *jobs, *digests))
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
        name = self._name(package)
        with atomic.key_lock(self._trees, name):
            if (self._trees / name).is_dir():
                self._made_by_another(package, advance)
                return
            with atomic.new_folder(self._trees / name) as tree:
                self._unpack_into(tree, package, advance)
            layer_digest(self._trees, name)  # at once, while the system still has its pages in memory

    def _start_adapting(
        self, packages: Sequence[Package], pool: ThreadPoolExecutor, stack: ExitStack, advance: Callable[[int], None]
    ) -> dict[Path, Future[None]]:
        """Start to unpack those of `packages` that are missing, into folders that get their names with `stack`.

        They are compiled together, so all stay unfinished, and locked, until then.
        """
        trees = {}
        named = {self._name(package): package for package in packages}
        for name, package in sorted(named.items(), key=lambda pair: pair[0]):
            # one order for all, so that two builds never wait for each other
            stack.enter_context(atomic.key_lock(self._trees, name))
            if (self._trees / name).is_dir():
                self._made_by_another(package, advance)
                continue
            tree = stack.enter_context(atomic.new_folder(self._trees / name))
            trees[tree] = pool.submit(self._unpack_into, tree, package, advance)
            stack.callback(_settle, trees[tree])  # nobody writes any more when a failure removes the folder
        return trees

    def _made_by_another(self, package: Package, advance: Callable[[int], None]) -> None:
        """Count what was still to do when this build began, and has been done by another one since."""
        if package in self.missing:
            advance(package.size)

    def _unpack_into(self, tree: Path, package: Package, advance: Callable[[int], None]) -> None:
        unpack(package, tree, self._python)
        self._count(package)
        advance(package.size)

    def _compile(self, trees: Sequence[Path], runtime: Sequence[Package], python: Python) -> None:
        root = RootFilesystem((*self._base.trees, *(self._trees / self._name(package) for package in runtime)))
        begin = time.perf_counter()
        notes = compile_sources(self._settings, root, trees, python.site_packages, _workers(self._settings))
        for note in (*notes, f"done in {time.perf_counter() - begin:.2f} s"):
            self._reporter.log("compile", note)

    def _name(self, package: Package) -> str:
        return piece_key(package, self._python)[:NAME_LENGTH]

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


def _wait_for(jobs: Iterable[Future[Any]]) -> None:
    """Wait until all have succeeded, or raise what the first of them raised."""
    for job in jobs:
        job.result()


def _settle(job: Future[None]) -> None:
    """Cancel `job` if it has not begun, else wait for its end."""
    if not job.cancel():
        wait([job])


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
