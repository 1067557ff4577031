"""Build a channel: download, pack what has changed, index.

    channel.toml + CPython + wheels  ->  DIR/<subdir>/*.conda  ->  DIR/<subdir>/repodata.json

`DIR/.envbuild/` keeps the wheels and one record of what every package was made from. A package whose ingredients
(wheel, recipe entry, Python, this builder) are those of the record is not built again, so a second build reads that
one file and stops. The record is written after each package: an interrupted build goes on where it was.
"""

import asyncio
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from envbuild.errors import InputError, StoreError

from .. import atomic
from ..file_digest import sha256_of
from ..report import Reporter
from .conda_package import tree_size
from .cpython import CPython, build_python, build_python_abi, build_runtime, find_cpython, find_runtime, subdir
from .download import download_wheels
from .elf import SYSTEM_LIBRARIES
from .recipe import ChannelRecipe, PackageRecipe, read_recipe
from .wheel import build_wheel

BUILDER_VERSION = 4
"""Raise it when the same ingredients would give other bytes."""

_STATE = ".envbuild"


@dataclass(frozen=True)
class ChannelReport:
    """What a build did. Package names are conda's."""

    directory: Path
    built: tuple[str, ...]
    reused: tuple[str, ...]
    removed: tuple[str, ...]
    seconds: float


def build_channel(recipe: Path, directory: Path, reporter: Reporter) -> ChannelReport:
    """Bring the channel in `directory` up to date with `recipe`.

    Raises:
        RecipeError: the recipe cannot be understood, or asks for a Python that is not here.
        InputError: `directory` is a file.
        FetchError: a wheel cannot be downloaded.
        PackageError: a wheel is damaged or does not fit its entry in the recipe.
        StoreError: `directory` cannot be written.
    """
    begin = time.monotonic()
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file; a channel is a folder: name one, new or of an earlier build")
    wanted = read_recipe(recipe)
    python = find_cpython(wanted.python)
    directory = directory.absolute()
    try:
        with atomic.key_lock(directory / _STATE, "build"):
            build = _Build(wanted, python, directory, reporter)
            build.run()
    except OSError as error:
        raise StoreError(
            f"the channel {directory} cannot be written: {error.strerror or error}; make room, or choose another folder"
        ) from error
    report = ChannelReport(
        directory, tuple(build.built), tuple(build.reused), tuple(build.removed), time.monotonic() - begin
    )
    if not report.built and not report.removed:
        reporter.log("channel", f"all {len(report.reused)} packages of {directory} are up to date")
    return report


@dataclass
class _Build:
    """One build of one channel, under its lock."""

    recipe: ChannelRecipe
    python: CPython
    directory: Path
    reporter: Reporter
    built: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Do what is left to do."""
        state_folder = self.directory / _STATE
        self.state = _read_state(state_folder / "state.json")
        for folder in (state_folder, state_folder / "wheels", self.directory / "noarch", self.directory / subdir()):
            folder.mkdir(exist_ok=True)
            atomic.sweep(folder)
        wheels = download_wheels(self.recipe.packages, self.python.short, state_folder / "wheels", self.reporter)
        self._packages(wheels)
        self._remove_others()
        if not self.state["indexed"] or not self._is_indexed():
            self._index()

    def _packages(self, wheels: Mapping[str, Path]) -> None:
        python = self.python
        names = {pypi: name for pypi, name in self.recipe.conda_names.items() if pypi != name}
        self._package("python", python.identity, lambda tree, go: build_python(python, tree, self.directory, go))
        self._package("python_abi", python.short, lambda tree, go: build_python_abi(python, tree, self.directory))
        for package in self.recipe.packages:
            wheel = wheels[package.name]
            inputs = [self._wheel_digest(wheel), wheel.name, asdict(package), python.identity, names]

            def make(
                tree: Path, go: Callable[[int], None], wheel: Path = wheel, package: PackageRecipe = package
            ) -> Path:
                return build_wheel(wheel, package, names, python, tree, self.directory, go)

            self._package(package.name, inputs, make)
        self._runtimes()
        self._tell_missing()

    def _runtimes(self) -> None:
        """The compiler's libraries come last: only what some package asks for."""
        for name in sorted(set(SYSTEM_LIBRARIES.values()), reverse=True):  # libstdcxx before libgcc, which it needs
            if name in self._required():
                file = find_runtime(name)
                stat = file.stat()

                def make(tree: Path, go: Callable[[int], None], name: str = name) -> Path:
                    return build_runtime(name, tree, self.directory)

                self._package(name, [str(file), stat.st_size, stat.st_mtime_ns], make)

    def _package(self, name: str, inputs: Any, make: Callable[[Path, Callable[[int], None]], Path]) -> None:
        """Build one package unless its record says that it would come out the same."""
        digest = hashlib.sha256(json.dumps([BUILDER_VERSION, inputs], sort_keys=True).encode()).hexdigest()
        record = self.state["packages"].get(name)
        if record and record["inputs"] == digest and _has_size(self.directory / record["file"], record["size"]):
            self.reused.append(name)
            return
        with tempfile.TemporaryDirectory(dir=self.directory / _STATE, prefix=".tmp-") as temporary:
            tree = Path(temporary) / "tree"
            tree.mkdir()
            with self.reporter.task(f"pack {name}", None) as task:
                file = make(tree, task.advance)
            content = tree_size(tree)
        if record and record["file"] != file.relative_to(self.directory).as_posix():
            (self.directory / record["file"]).unlink(missing_ok=True)
        self.state["packages"][name] = {
            "inputs": digest,
            "file": file.relative_to(self.directory).as_posix(),
            "size": file.stat().st_size,
            "depends": _depends(file),
        }
        self.state["indexed"] = False
        self._write_state()
        self.reporter.log("channel", f"{file.name}: {file.stat().st_size} bytes from {content}")
        self.built.append(name)

    def _wheel_digest(self, wheel: Path) -> str:
        """The sha256 of a wheel, read again only when the file has changed."""
        stat = wheel.stat()
        seen = [stat.st_size, stat.st_mtime_ns]
        record = self.state["wheels"].get(wheel.name)
        if not record or record["seen"] != seen:
            record = self.state["wheels"][wheel.name] = {"seen": seen, "sha256": sha256_of(wheel)}
        return str(record["sha256"])

    def _remove_others(self) -> None:
        """Packages that the recipe does not name any more."""
        for name in sorted(set(self.state["packages"]) - {*self.built, *self.reused}):
            record = self.state["packages"].pop(name)
            (self.directory / record["file"]).unlink(missing_ok=True)
            self.removed.append(name)
            self.state["indexed"] = False

    def _required(self) -> set[str]:
        current = {*self.built, *self.reused}
        records = [record for name, record in self.state["packages"].items() if name in current]
        return {requirement.split()[0] for record in records for requirement in record["depends"]}

    def _tell_missing(self) -> None:
        known = {*self.built, *self.reused}
        for name in sorted(self.built):
            for requirement in self.state["packages"][name]["depends"]:
                if requirement.split()[0] not in known and not requirement.startswith("__"):
                    self.reporter.say(
                        f"{name} needs {requirement}, which this channel has not got; "
                        f"add a [[package]] for it, or leave it out with drop"
                    )

    def _is_indexed(self) -> bool:
        return all((self.directory / each / "repodata.json").is_file() for each in ("noarch", subdir()))

    def _index(self) -> None:
        from rattler.index import index_fs

        with self.reporter.task("index", len(self.state["packages"]), "packages") as task:
            asyncio.run(index_fs(self.directory, write_zst=True, write_shards=False, force=True))
            for each in ("noarch", subdir()):
                _remove_index_times(self.directory / each)
            task.advance(len(self.state["packages"]))
        time.sleep(0.05)  # rattler's threads are still ending: a process that leaves at once sometimes aborts
        self.state["indexed"] = True
        self._write_state()

    def _write_state(self) -> None:
        text = json.dumps(self.state, indent=1, sort_keys=True) + "\n"
        atomic.write_file(self.directory / _STATE / "state.json", text.encode())


def _read_state(file: Path) -> dict[str, Any]:
    """What an earlier build noted. A record that cannot be read only means that everything is built again."""
    try:
        state = json.loads(file.read_bytes())
        if state["version"] == 1:
            return dict(state)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    return {"version": 1, "packages": {}, "wheels": {}, "indexed": False}


def _remove_index_times(folder: Path) -> None:
    """rattler notes when it indexed each package; without that, the index depends on the packages alone."""
    import zstandard

    repodata = json.loads((folder / "repodata.json").read_bytes())
    for records in (repodata.get("packages", {}), repodata.get("packages.conda", {})):
        for record in records.values():
            record.pop("indexed_timestamp", None)
    text = json.dumps(repodata, separators=(",", ":"), sort_keys=True).encode()
    atomic.write_file(folder / "repodata.json", text)
    atomic.write_file(folder / "repodata.json.zst", zstandard.ZstdCompressor(19).compress(text))


def _depends(package: Path) -> list[str]:
    from conda_package_streaming.package_streaming import stream_conda_info

    for tar, member in stream_conda_info(package):
        if member.name == "info/index.json":
            file = tar.extractfile(member)
            return list(json.loads(file.read())["depends"]) if file else []
    return []


def _has_size(file: Path, size: int) -> bool:
    try:
        return file.stat().st_size == size
    except OSError:
        return False
