"""Reads the curated bases: `bases/NAME.toml`, one file each, and `registry_bases.toml`, a table each."""

import difflib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.errors import BaseError, NotFound
from envbuild.settings import BaseImage

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LINUX_64 = "linux-64"
"""The platform of the recipes in `bases/`; those of another lie in `bases/PLATFORM/`."""

_BASES = Path(__file__).resolve().parent / "bases"
_REGISTRY_BASES = _BASES.with_name("registry_bases.toml")


@dataclass(frozen=True)
class PinnedPackage:
    """One Debian package, exactly."""

    name: str
    version: str
    architecture: str
    size: int
    """Bytes of the `.deb` file."""
    sha256: str
    """Hex, of the `.deb` file."""


@dataclass(frozen=True)
class BaseRecipe:
    """A base as a list of pinned packages."""

    name: str
    version: int
    description: str
    suite: str
    platform: str
    packages: tuple[PinnedPackage, ...]


def registry_bases() -> dict[str, BaseImage]:
    """The curated bases that come from registries."""
    tables = tomllib.loads(_REGISTRY_BASES.read_text(encoding="utf-8"))
    return {name: BaseImage(**table) for name, table in sorted(tables.items())}


def base_names() -> list[str]:
    """The names of the curated bases that are made of Debian packages."""
    return sorted(file.stem for file in _BASES.glob("*.toml"))


def read_base(name: str, platform: str = LINUX_64, others: Iterable[str] = ()) -> BaseRecipe:
    """The curated base `name`, pinned for `platform`.

    Raises:
        NotFound: there is none (the message lists the known ones, and `others`), or it is not pinned for `platform`.
    """
    if name not in base_names():
        known = list(dict.fromkeys([*base_names(), *registry_bases(), *others]))
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise NotFound(f"no base is named {name!r}; {hint}")
    if platform == LINUX_64:
        return read_recipe(_BASES / f"{name}.toml", name)
    file = _BASES / platform / f"{name}.toml"
    if not file.is_file():
        pinned = ", ".join(each for each in base_names() if (_BASES / platform / f"{each}.toml").is_file()) or "none"
        raise NotFound(f"the base {name} is not pinned for {platform}; bases that are: {pinned} (--base NAME)")
    return read_recipe(file, name)


def read_recipe(file: Path, name: str) -> BaseRecipe:
    """Read one recipe.

    Raises:
        BaseError: the file is damaged.
    """
    try:
        document: Mapping[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        return BaseRecipe(
            name=name,
            version=int(document["version"]),
            description=str(document["description"]),
            suite=str(document["suite"]),
            platform=str(document["platform"]),
            packages=tuple(PinnedPackage(**each) for each in document["packages"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BaseError(f"{file} is no usable base recipe ({error}); remove it or install envbuild again") from None


def write_recipe(recipe: BaseRecipe) -> str:
    """The text that `read_recipe` reads back as `recipe`."""
    lines = [
        f'description = "{recipe.description}"',
        'distribution = "debian"',
        f'suite = "{recipe.suite}"',
        f'platform = "{recipe.platform}"',
        f"version = {recipe.version}",
        "",
        "packages = [",
    ]
    for package in recipe.packages:
        lines.append(
            f'  {{ name = "{package.name}", version = "{package.version}", architecture = "{package.architecture}", '
            f'size = {package.size}, sha256 = "{package.sha256}" }},'
        )
    return "\n".join([*lines, "]", ""])
