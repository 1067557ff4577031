"""Wheels out of sources, made in the sandbox: with the environment's own Python, without network, in build isolation.

    Source -> build requirements (wheels, locked by uv) -> virtual environment -> PEP 517 hooks -> one wheel, rewritten

The wheel is as reproducible as can be: no time, owner, hash seed or path of this machine enters it, and its archive is
written again in one order and without compression. A build may still depend on what it pleases, so every image that
holds one says so. What was built once from the same source with the same packages is not built again.
"""

import hashlib
import json
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from envbuild.errors import InputError, PackageError
from envbuild.settings import Settings

from .. import atomic
from ..bases.base import Base
from ..fetching.fetch import fetch
from ..file_digest import sha256_of
from ..inputs.git_version import version_tool
from ..lock import BuildRequirement, Built, LockedPackage
from ..packing.activation import activation_variables
from ..packing.package import Package, read_package
from ..packing.pieces import build_layers
from ..packing.unpacked_size import refuse_large_zip
from ..plan import PREFIX, plan_layers
from ..platforms import can_execute
from ..report import Reporter
from ..sandbox.command import Mount, RootFilesystem
from ..sandbox.run import run_in_sandbox
from . import build_job
from .build_requirements import BuildSystem, lock_requirements, read_build_system
from .sources import Source
from .uv import Target
from .version_from_git import hand_over

BUILDER_VERSION = 1
"""Part of every built wheel's key: raise it whenever the same source would give another wheel."""

_EPOCH = "315532800"
"""1980-01-01, the earliest time that a zip file can hold."""
_BUILD = "/build"
_LAST_LINES = 25


class Workshop:
    """Where the wheels of one environment are built; nothing is unpacked before the first one."""

    def __init__(
        self,
        conda: Sequence[LockedPackage],
        find_base: Callable[[], Base],
        target: Target,
        settings: Settings,
        reporter: Reporter,
    ) -> None:
        self._conda = conda
        self._find_base = find_base
        self.target = target
        self._settings = settings
        self._reporter = reporter

    def build(self, source: Source, requires: Sequence[BuildRequirement] | None = None) -> LockedPackage:
        """The wheel of `source`, as the lock knows it; `requires` are what the lock says was at hand, if it does.

        Raises:
            InputError: this machine cannot execute programs of the platform.
            PackageError: the build fails; the message carries its last lines.
            SolveError, FetchError: what the build needs cannot be had.
        """
        if not self.can_build:
            raise InputError(
                f"{source.shown} has no wheel for {self.target.platform} and would have to be built there; "
                "pin a version that has one, or register on such a machine"
            )
        key = self._key(source, requires)
        with atomic.key_lock(self._settings.home / "cache" / "wheels", key):
            known = self._known(key)
            if known is None:
                self._reporter.say(f"building {source.shown} from source, in the sandbox and without network")
                known = self._build(source, requires)
                text = json.dumps({"sha256": known.sha256, "built": known.built.document if known.built else {}})
                atomic.write_file(self._record(key), text.encode())
        assert known.built is not None
        name, version = _name_and_version(known.built.wheel)
        self._reporter.log("build", f"{known.built.wheel}  sha256:{known.sha256}  from {source.url}")
        return LockedPackage("pip", name, version, source.url, known.sha256, built=known.built)

    @property
    def can_build(self) -> bool:
        """Whether programs of the platform run here."""
        return can_execute(self.target.platform)

    def file_of(self, package: LockedPackage) -> Path:
        """Where the wheel of a built package lies."""
        return self._settings.home / "packages" / package.sha256 / package.filename

    @cached_property
    def root(self) -> RootFilesystem:
        """The base and the conda packages of the environment."""
        base = self._find_base()
        plan = plan_layers(self._packages, len(base.layers), allowed_scripts=self._settings.allow_scripts)
        layers = build_layers(plan, base, self._settings, self._reporter).layers
        trees = self._settings.home / "trees"
        return RootFilesystem((*base.trees, *(trees / layer.tree for layer in layers)))

    @cached_property
    def _packages(self) -> list[Package]:
        files = fetch(self._conda, self._settings.home / "packages", self._reporter, self._settings)
        return [read_package(package, files[package.sha256]) for package in self._conda]

    @cached_property
    def _variables(self) -> Mapping[str, str]:
        """What compilers among the packages export when they are activated."""
        return activation_variables(self._packages, self.root, self._settings, self._reporter)

    def _key(self, source: Source, requires: Sequence[BuildRequirement] | None) -> str:
        ingredients: dict[str, Any] = {
            "source": source.sha256,
            "subdirectory": source.subdirectory,
            "conda": sorted(package.sha256 for package in self._conda),
            "base": self._find_base().identity,
            "requires": sorted(each.sha256 for each in requires) if requires is not None else None,
            "version": BUILDER_VERSION,
        }
        if source.described:
            ingredients["described"] = asdict(source.described)
        return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()

    def _record(self, key: str) -> Path:
        return self._settings.home / "cache" / "wheels" / f"{key}.json"

    def _known(self, key: str) -> LockedPackage | None:
        try:
            said = json.loads(self._record(key).read_bytes())
            built = Built.read(said["built"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        package = LockedPackage("pip", "", "", "", str(said["sha256"]), built=built)
        return package if self.file_of(package).is_file() else None

    def _build(self, source: Source, requires: Sequence[BuildRequirement] | None) -> LockedPackage:
        system = read_build_system(source.folder / source.subdirectory, source.shown)
        with atomic.scratch_folder(self._settings.home / "scratch") as work:
            shutil.copytree(source.folder, work / "source", symlinks=True)
            told = self._tell_version(source, work / "source" / source.subdirectory)
            (work / "output").mkdir()
            locked = (
                requires if requires is not None else lock_requirements(system.requires, self.target, self._settings)
            )
            self._install(locked, work / "venv")
            if requires is None:
                more = self._run("requires", system, source, work, told)
                if more:
                    locked = lock_requirements((*system.requires, *more), self.target, self._settings)
                    shutil.rmtree(work / "venv")
                    self._install(locked, work / "venv")
            name = str(self._run("wheel", system, source, work, told))
            sha256 = self._keep(work / "output" / Path(name).name)
        built = Built(Path(name).name, source.sha256, tuple(locked), source.subdirectory, source.described)
        return LockedPackage("pip", "", "", source.url, sha256, built=built)

    def _install(self, requires: Sequence[BuildRequirement], venv: Path) -> None:
        """A virtual environment, laid out by hand (PEP 405): its Python cannot run outside the sandbox."""
        from installer import install
        from installer.destinations import SchemeDictionaryDestination
        from installer.exceptions import InstallerError
        from installer.sources import WheelFile

        packages = [LockedPackage("pip", each.name, each.version, each.url, each.sha256) for each in requires]
        files = fetch(packages, self._settings.home / "packages", self._reporter, self._settings)
        minor = ".".join(self.target.python.split(".")[:2])
        site, scripts = venv / f"lib/python{minor}/site-packages", venv / "bin"
        for folder in (site, scripts):
            folder.mkdir(parents=True)
        for name in ("python", "python3", f"python{minor}"):
            (scripts / name).symlink_to(f"{PREFIX}/bin/python")
        version = f"home = {PREFIX}/bin\ninclude-system-site-packages = false\nversion = {self.target.python}\n"
        (venv / "pyvenv.cfg").write_text(version)
        schemes = {"purelib": site, "platlib": site, "headers": venv / "include", "scripts": scripts, "data": venv}
        for package in packages:
            destination = SchemeDictionaryDestination(
                {name: str(folder) for name, folder in schemes.items()},
                interpreter=f"{_BUILD}/venv/bin/python",
                script_kind="posix",
            )
            try:
                with zipfile.ZipFile(files[package.sha256]) as archive:
                    refuse_large_zip(archive, files[package.sha256])
                with WheelFile.open(files[package.sha256]) as wheel:
                    install(wheel, destination, additional_metadata={"INSTALLER": b"envbuild"})
            except (InstallerError, zipfile.BadZipFile, ValueError, FileExistsError) as error:
                raise PackageError(f"{package.filename}, which a build needs, cannot be unpacked: {error}") from None

    def _tell_version(self, source: Source, folder: Path) -> dict[str, str]:
        """Hand over what git knows, to a project whose version is made of it; variables for the build."""
        tool = version_tool(folder)
        if tool is None or source.described is None:
            return {}
        if source.described.changed:
            self._reporter.say(
                f"{source.shown} has files that are not as in its commit; its version is made of the commit alone"
            )
        return hand_over(tool, source.described, folder, source.shown)

    def _run(self, action: str, system: BuildSystem, source: Source, work: Path, told: Mapping[str, str]) -> Any:
        job = {
            "action": action,
            "source": f"{_BUILD}/source/{source.subdirectory}".rstrip("/"),
            "output": f"{_BUILD}/output",
            "backend": system.backend,
            "backend_path": list(system.backend_path),
        }
        done = run_in_sandbox(
            self._settings,
            self.root,
            [f"{_BUILD}/venv/bin/python", "/envbuild/build_job.py"],
            mounts=[
                Mount(work, _BUILD, writable=True),
                Mount(Path(build_job.__file__).resolve(), "/envbuild/build_job.py"),
            ],
            env={
                **self._variables,
                "PATH": f"{_BUILD}/venv/bin:{PREFIX}/bin:/usr/bin:/bin",
                "HOME": "/tmp",
                "SOURCE_DATE_EPOCH": _EPOCH,
                "PYTHONHASHSEED": "0",
                "PYTHONDONTWRITEBYTECODE": "1",
                "CONDA_PREFIX": PREFIX,
                "LC_ALL": "C.UTF-8",
                "TZ": "UTC",
                **told,
            },
            input=json.dumps(job).encode(),
            scratch=self._settings.home / "scratch",
        )
        said = (done.stdout + done.stderr).decode(errors="replace").splitlines()
        for line in said:
            self._reporter.log("build", f"{source.shown}: {line}")
        if done.returncode:
            shown = "\n  ".join(done.stderr.decode(errors="replace").strip().splitlines()[-_LAST_LINES:])
            if source.described is None and version_tool(work / "source" / source.subdirectory):
                raise PackageError(
                    f"{source.shown} cannot be built from source: its version is made of git's tags, and it is in no "
                    "git repository; name the repository (git+https://...), or write a version (fallback_version of "
                    f"setuptools_scm):\n  {shown}"
                )
            raise PackageError(
                f"{source.shown} cannot be built from source; the sandbox has the environment's conda packages (a "
                f"compiler is one: c-compiler) and no network:\n  {shown}"
            )
        try:
            return json.loads(done.stdout.decode(errors="replace").strip().splitlines()[-1])
        except (IndexError, ValueError, RecursionError):
            raise PackageError(
                f"{source.shown} cannot be built from source: its build ended without saying what it made"
            ) from None

    def _keep(self, wheel: Path) -> str:
        """Put the wheel, rewritten, where downloads lie; return its sha256."""
        if wheel.is_symlink() or not wheel.is_file():  # a link would mean a file of this machine
            raise PackageError(f"the build names {wheel.name!r} as its wheel, which is no file that it has made")
        packages = self._settings.home / "packages"
        packages.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tmp-", dir=packages) as folder:
            rewritten = Path(folder) / wheel.name
            _rewrite(wheel, rewritten)
            sha256 = sha256_of(rewritten)
            target = packages / sha256 / wheel.name
            target.parent.mkdir(exist_ok=True)
            rewritten.replace(target)
        return sha256


def verify_rebuilt(package: LockedPackage, again: LockedPackage) -> None:
    """Raise unless a wheel that was built again is the one of the lock.

    Raises:
        PackageError: the build is not reproducible.
    """
    if again.sha256 != package.sha256:
        raise PackageError(
            f"{package.name} was built again from {package.url} and is another wheel (sha256 {again.sha256}, the lock "
            f"says {package.sha256}): its build is not reproducible; lock anew with --refresh"
        )


def _name_and_version(wheel: str) -> tuple[str, str]:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, _ = parse_wheel_filename(wheel)
    except InvalidWheelFilename as error:
        raise PackageError(f"the build made {wheel!r}, which is no name of a wheel ({error})") from None
    return str(name), str(version)


def _rewrite(wheel: Path, target: Path) -> None:
    """The same content in one order, with one time, uncompressed: no version of zlib decides about the bytes."""
    try:
        with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
            refuse_large_zip(old, wheel)
            for info in sorted(old.infolist(), key=lambda each: each.filename):
                if info.is_dir():
                    continue
                entry = zipfile.ZipInfo(info.filename)
                executable = info.external_attr >> 16 & 0o100
                entry.external_attr = (0o100755 if executable else 0o100644) << 16
                new.writestr(entry, old.read(info))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise PackageError(f"the build made {wheel.name}, which is no zip file ({error})") from None
