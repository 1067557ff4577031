"""Every package file of a lock: downloaded, or built again from its source where this home has not got its wheel."""

import tempfile
from dataclasses import replace
from pathlib import Path

from envbuild.errors import PackageError
from envbuild.settings import Settings

from .bases.base import Base
from .fetching.fetch import fetch
from .inputs.requirement import Requirement
from .lock import Lock, LockedPackage
from .pip.sources import Source, take_repository, take_sdist
from .pip.uv import Target
from .pip.workshop import Workshop, verify_rebuilt
from .report import Reporter
from .steering import virtual_packages


def fetch_or_build(lock: Lock, base: Base, settings: Settings, reporter: Reporter) -> dict[str, Path]:
    """sha256 -> file of every package.

    Raises:
        FetchError: a package or source cannot be had.
        PackageError: a wheel cannot be built again, or comes out differently.
    """
    folder = settings.home / "packages"
    files = fetch([each for each in lock.packages if not each.built], folder, reporter, settings)
    conda = [package for package in lock.packages if package.manager == "conda"]
    python = next((package.version for package in conda if package.name == "python"), "")
    target = Target(python, lock.platform, virtual_packages(settings, lock.platform))
    workshop = Workshop(conda, lambda: base, target, settings, reporter)
    for package in lock.packages:
        if package.built:
            files[package.sha256] = workshop.file_of(package)
            if not files[package.sha256].is_file():
                _build_again(package, workshop, settings)
    return files


def _build_again(package: LockedPackage, workshop: Workshop, settings: Settings) -> None:
    assert package.built is not None
    with tempfile.TemporaryDirectory() as folder:
        source = _take(package, settings, Path(folder))
        if source.sha256 != package.built.source_sha256:
            raise PackageError(f"{package.url} holds something else than when {package.name} was locked; lock it anew")
        again = workshop.build(source, package.built.requires)
    verify_rebuilt(package, again)


def _take(package: LockedPackage, settings: Settings, folder: Path) -> Source:
    assert package.built is not None
    if package.url.startswith("git+"):
        named = Requirement("git", package.name, location=package.url, subdirectory=package.built.subdirectory)
        return replace(take_repository(named, folder), described=package.built.described)
    if package.url.startswith("."):
        raise PackageError(
            f"{package.name} was built from the folder {package.url}, which a lock does not carry; register the "
            "environment file itself, where that folder is"
        )
    return take_sdist(
        package.url, package.built.source_sha256, settings, folder, package.name, package.built.subdirectory
    )
