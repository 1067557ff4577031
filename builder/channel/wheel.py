"""One wheel becomes one conda package.

A wheel without compiled code becomes `noarch: python` (its entry points go to `link.json`, clients write the scripts);
any other becomes a package for this platform and this minor version of Python, with its `.pyc` files inside, as
conda-build's are, and with its libraries told to look for the C++ runtime in the prefix. Requirements become conda's:
markers are evaluated for the channel's Python, names are the recipe's. Requirements with extras lose the extra, which
conda has no word for.
"""

import platform
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import parse_tag
from packaging.utils import canonicalize_name, parse_wheel_filename

from envbuild.errors import PackageError

from . import elf
from .conda_package import PLACEHOLDER, Package, write_package
from .cpython import CPython, compile_sources, subdir
from .recipe import PackageRecipe, Patch

if TYPE_CHECKING:
    from installer.destinations import SchemeDictionaryDestination
    from installer.scripts import ScriptSection


def build_wheel(
    wheel: Path,
    recipe: PackageRecipe,
    names: Mapping[str, str],
    python: CPython,
    tree: Path,
    channel: Path,
    advance: Callable[[int], None],
) -> Path:
    """Unpack `wheel` into the empty folder `tree`, change it as `recipe` says, and pack it.

    `names` maps canonical PyPI names to conda names.

    Raises:
        PackageError: the wheel is damaged, or a patch of the recipe does not fit it.
    """
    metadata, noarch = read_metadata(wheel)
    site = tree / ("site-packages" if noarch else python.site_packages)
    entry_points = _unpack(wheel, tree, site, noarch)
    _exclude(site, recipe.exclude)
    if recipe.patch:
        _apply(recipe.patch, site, recipe.name)
    depends = [*conda_requirements(metadata, names, python.version, recipe.drop), *recipe.depends]
    if noarch:
        depends.append(f"python {conda_versions(metadata.get('Requires-Python') or '')}".strip())
    else:
        depends += _compiled_requirements(tree, python)
        compile_sources(python, tree, python.site_packages, recipe.no_compile)
    version = parse_wheel_filename(wheel.name)[1]
    package = Package(
        name=recipe.name,
        version=version.public,
        build=f"{'py' if noarch else 'py' + python.tag}{{hash}}_0",
        subdir="noarch" if noarch else subdir(),
        noarch="python" if noarch else "",
        depends=tuple(sorted(set(depends))),
        license=metadata.get("License-Expression") or "",
        summary=metadata.get("Summary") or "",
        purls=(f"pkg:pypi/{recipe.pypi_name}",),
        entry_points=entry_points,
    )
    return write_package(package, tree, channel, advance)


def read_metadata(wheel: Path) -> tuple[Message, bool]:
    """The wheel's METADATA, and whether it can be a noarch package (no compiled code, any Python 3).

    Raises:
        PackageError: it is not a wheel.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            folders = (name.split("/")[0] for name in archive.namelist())
            folder = next(name for name in folders if name.endswith(".dist-info"))
            metadata = BytesParser().parsebytes(archive.read(f"{folder}/METADATA"))
            about = BytesParser().parsebytes(archive.read(f"{folder}/WHEEL"))
    except (zipfile.BadZipFile, KeyError, StopIteration) as error:
        raise PackageError(f"{wheel} is not a whole wheel ({error}); remove it, and it is downloaded again") from None
    tags = [tag for line in about.get_all("Tag") or [] for tag in parse_tag(line)]
    return metadata, bool(tags) and all(tag.platform == "any" and tag.abi == "none" for tag in tags)


def conda_requirements(
    metadata: Message, names: Mapping[str, str], python: str, drop: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The wheel's requirements in conda's words, for the full Python version `python` on Linux."""
    environment = _marker_environment(python)
    found = []
    for line in metadata.get_all("Requires-Dist") or []:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if name in drop or (requirement.marker and not requirement.marker.evaluate(environment)):
            continue
        found.append(f"{names.get(name, name)} {conda_versions(str(requirement.specifier))}".strip())
    return tuple(found)


def conda_versions(specifiers: str) -> str:
    """A PEP 440 specifier set as conda writes it: `~=1.4.2` is `>=1.4.2,1.4.*`; local versions (`+cpu`) go."""
    out = []
    for specifier in sorted(SpecifierSet(specifiers), key=str):
        operator, version = specifier.operator, specifier.version.partition("+")[0]
        if operator == "~=":
            out += [f">={version}", ".".join(version.split(".")[:-1]) + ".*"]
        elif operator == "==" and version.endswith(".*"):
            out.append(version)
        else:
            out.append(("==" if operator == "===" else operator) + version)
    return ",".join(out)


def _marker_environment(python: str) -> dict[str, str | AbstractSet[str]]:
    """PEP 508's variables for the channel's Python, not for the one that runs this."""
    return {
        "implementation_name": "cpython",
        "implementation_version": python,
        "os_name": "posix",
        "platform_machine": platform.machine(),
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
        "extra": "",
    }


def _unpack(wheel: Path, tree: Path, site: Path, noarch: bool) -> tuple[str, ...]:
    """Unpack into `tree`; return the entry points that the client writes, if it is to."""
    from installer import install
    from installer.exceptions import InstallerError
    from installer.sources import WheelFile

    destination, entry_points = _destination(tree, site, noarch)
    try:
        with warnings.catch_warnings(), WheelFile.open(wheel) as source:
            warnings.simplefilter("ignore")  # .pyc files inside a wheel, which are left out
            install(source, destination, additional_metadata={"INSTALLER": b"conda\n"})
    except (InstallerError, zipfile.BadZipFile, ValueError) as error:
        raise PackageError(f"{wheel.name} cannot be unpacked: {error}") from None
    return tuple(entry_points)


def _destination(tree: Path, site: Path, noarch: bool) -> tuple["SchemeDictionaryDestination", list[str]]:
    from installer.destinations import SchemeDictionaryDestination
    from installer.records import RecordEntry

    entry_points: list[str] = []

    class Destination(SchemeDictionaryDestination):
        """Leaves the entry points of noarch packages to the client."""

        def write_script(self, name: str, module: str, attr: str, section: "ScriptSection") -> RecordEntry:
            if not noarch:
                return super().write_script(name, module, attr, section)
            entry_points.append(f"{name} = {module}:{attr}")
            return RecordEntry(f"../../../bin/{name}", None, None)

    scheme = {
        "purelib": str(site),
        "platlib": str(site),
        "scripts": str(tree / ("python-scripts" if noarch else "bin")),
        "data": str(tree),
        "headers": str(tree / "include"),
    }
    return Destination(scheme, interpreter=f"{PLACEHOLDER}/bin/python", script_kind="posix"), entry_points


def _exclude(site: Path, patterns: tuple[str, ...]) -> None:
    for path in sorted(site.rglob("*"), reverse=True) if patterns else ():
        if path.is_dir() and not path.is_symlink():
            continue
        if any(re.search(pattern, path.relative_to(site).as_posix()) for pattern in patterns):
            path.unlink()


def _apply(patch: Patch, site: Path, name: str) -> None:
    for file in patch.files:
        path = site / file
        if not elf.is_elf(path):
            raise PackageError(f"the recipe of {name} patches {file}, which the wheel has not got; correct its files")
        for library in patch.remove_needed:
            elf.patchelf("--remove-needed", library, path)
        for old, pattern in patch.replace_needed:
            elf.patchelf("--replace-needed", old, _one(site, pattern, name).name, path)
        if patch.rpath:
            elf.patchelf("--set-rpath", patch.rpath, path)
        if patch.weaken and not elf.weaken(path, patch.weaken):
            raise PackageError(f"the recipe of {name} weakens {patch.weaken!r}, which {file} has not got; correct it")


def _one(site: Path, pattern: str, name: str) -> Path:
    matches = sorted(site.glob(pattern))
    if len(matches) != 1:
        raise PackageError(f"the recipe of {name} names the library {pattern}; {len(matches)} files of the wheel match")
    return matches[0]


def _compiled_requirements(tree: Path, python: CPython) -> list[str]:
    """What compiled code needs beyond the wheel's own requirements; also lets the linker find the C++ runtime."""
    files = [path for path in sorted(tree.rglob("*")) if elf.is_elf(path)]
    runtime = set()
    for file in files:
        system = {elf.SYSTEM_LIBRARIES[name] for name in elf.needed(file) if name in elf.SYSTEM_LIBRARIES}
        if system:
            up = "/".join(".." for _ in file.parent.relative_to(tree / "lib").parts)
            elf.patchelf("--add-rpath", f"$ORIGIN/{up}".rstrip("/"), file)
        runtime |= system
    major, minor = python.short.split(".")
    return [
        f"python >={python.short},<{major}.{int(minor) + 1}.0a0",
        f"python_abi {python.short}.* *_cp{python.tag}",
        elf.glibc_requirement(files),
        *sorted(runtime),
    ]
