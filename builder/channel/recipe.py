"""`channel.toml`: which Python and which wheels a channel holds, and what is changed in them.

A recipe is data only. Every wheel is pinned exactly (`==`), because a channel that is built again must come out the
same. What one package needs beyond its wheel (a conda name, files left out, libraries relinked) stands in its entry:

    [python]
    version = "3.11"

    [[package]]
    wheel = "torch==2.13.0+cpu"
    name = "pytorch"
    exclude = ['^torch/test/']
"""

import difflib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from envbuild.errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TABLES = ("python", "package")
_PYTHON_KEYS = ("version",)
_PACKAGE_KEYS = ("wheel", "name", "sources", "exclude", "drop", "depends", "no-compile", "patch")
_PATCH_KEYS = ("files", "remove-needed", "replace-needed", "rpath", "weaken")


@dataclass(frozen=True)
class Patch:
    """How the compiled libraries of a wheel are changed. Paths count from site-packages."""

    files: tuple[str, ...]
    remove_needed: tuple[str, ...] = ()
    """Names of libraries that are no longer loaded."""
    replace_needed: tuple[tuple[str, str], ...] = ()
    """Library name -> glob of the file (in the wheel) that is loaded instead."""
    rpath: str = ""
    weaken: str = ""
    """Undefined symbols that match this expression need not be found when the library is loaded."""


@dataclass(frozen=True)
class PackageRecipe:
    """One wheel and the conda package it becomes."""

    pypi_name: str
    """Canonical (PEP 503)."""
    version: str
    name: str
    """The conda name."""
    sources: tuple[str, ...] = ()
    """Index URLs that are asked only when pip's own sources have not got this version."""
    exclude: tuple[str, ...] = ()
    """Files whose path below site-packages matches one of these expressions are left out."""
    drop: tuple[str, ...] = ()
    """Requirements of the wheel that are left out (canonical PyPI names)."""
    depends: tuple[str, ...] = ()
    """Further conda requirements."""
    no_compile: tuple[str, ...] = ()
    """Python files, below site-packages, that get no `.pyc`; only packages with compiled libraries carry any."""
    patch: Patch | None = None

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.pypi_name}=={self.version}"


@dataclass(frozen=True)
class ChannelRecipe:
    """A whole channel."""

    python: str
    """Major and minor version: `3.11`."""
    packages: tuple[PackageRecipe, ...]
    """Sorted by conda name."""

    @property
    def conda_names(self) -> Mapping[str, str]:
        """Canonical PyPI name -> conda name."""
        return {package.pypi_name: package.name for package in self.packages}


def read_recipe(path: Path) -> ChannelRecipe:
    """Read a `channel.toml`.

    Raises:
        RecipeError: the file is missing, is not TOML, or has an unknown key or a value of the wrong kind.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(f"the channel's recipe {path} cannot be read: {reason}") from None
    return parse_recipe(text, str(path))


def parse_recipe(text: str, where: str) -> ChannelRecipe:
    """Parse the text of a recipe; `where` names it in messages. Raises RecipeError as `read_recipe` does."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{where} is not valid TOML: {error}") from None
    _expect_keys(content, _TABLES, where)
    python = content.get("python")
    if not isinstance(python, dict) or "version" not in python:
        raise RecipeError(f'{where}: a [python] table with version = "3.11" (or another) is missing')
    _expect_keys(python, _PYTHON_KEYS, f"{where}, [python]")
    version = _text(python, "version", f"{where}, [python]")
    if not re.fullmatch(r"3\.\d+", version):
        raise RecipeError(f'{where}, [python]: version = "{version}" must be a major and minor version such as "3.11"')
    entries = content.get("package", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RecipeError(f"{where}: packages are written as [[package]], one table for each")
    packages = sorted((_package(entry, where) for entry in entries), key=lambda package: package.name)
    names = [package.name for package in packages]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(f"{where}: {name} is there twice; a channel of this kind holds one version of each")
    return ChannelRecipe(version, tuple(packages))


def _package(entry: dict[str, Any], where: str) -> PackageRecipe:
    if "wheel" not in entry:
        raise RecipeError(f'{where}: a [[package]] has no wheel; write wheel = "name==version"')
    pin = _text(entry, "wheel", where)
    where = f"{where}, package {pin}"
    _expect_keys(entry, _PACKAGE_KEYS, where)
    pypi_name, version = _pin(pin, where)
    return PackageRecipe(
        pypi_name=pypi_name,
        version=version,
        name=_text(entry, "name", where) or pypi_name,
        sources=_texts(entry, "sources", where),
        exclude=_expressions(entry, "exclude", where),
        drop=tuple(sorted(canonicalize_name(name) for name in _texts(entry, "drop", where))),
        depends=_texts(entry, "depends", where),
        no_compile=_expressions(entry, "no-compile", where),
        patch=_patch(entry["patch"], where) if "patch" in entry else None,
    )


def _pin(text: str, where: str) -> tuple[str, str]:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        raise RecipeError(f'{where}: wheel must be an exact pin such as "numpy==2.2.6"') from None
    specifiers = list(requirement.specifier)
    exact = len(specifiers) == 1 and specifiers[0].operator == "==" and "*" not in specifiers[0].version
    if not exact or requirement.extras or requirement.marker or requirement.url:
        raise RecipeError(f'{where}: wheel must be an exact pin such as "numpy==2.2.6"')
    return canonicalize_name(requirement.name), specifiers[0].version


def _patch(content: Any, where: str) -> Patch:
    where = f"{where}, patch"
    if not isinstance(content, dict):
        raise RecipeError(f"{where}: must be a table, written [package.patch]")
    _expect_keys(content, _PATCH_KEYS, where)
    files = _texts(content, "files", where)
    if not files:
        raise RecipeError(f"{where}: files names the libraries to change; none is given")
    replace = content.get("replace-needed", {})
    if not isinstance(replace, dict) or not all(isinstance(value, str) for value in replace.values()):
        raise RecipeError(f'{where}: replace-needed must be a table such as {{ "libold.so" = "package.libs/libnew*" }}')
    (weaken,) = _expressions({"weaken": [_text(content, "weaken", where)]}, "weaken", where)
    return Patch(
        files=files,
        remove_needed=_texts(content, "remove-needed", where),
        replace_needed=tuple(sorted(replace.items())),
        rpath=_text(content, "rpath", where),
        weaken=weaken,
    )


def _expect_keys(content: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise RecipeError(f"{where}: unknown key {key}; {hint}")


def _text(content: dict[str, Any], key: str, where: str) -> str:
    value = content.get(key, "")
    if not isinstance(value, str):
        raise RecipeError(f"{where}: {key} must be text, not {value!r}")
    return value


def _texts(content: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = content.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise RecipeError(f"{where}: {key} must be a list of texts, not {value!r}")
    return tuple(value)


def _expressions(content: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    texts = _texts(content, key, where)
    for text in texts:
        try:
            re.compile(text)
        except re.error as error:
            raise RecipeError(f"{where}: {key} has {text!r}, which is not a regular expression: {error}") from None
    return texts
