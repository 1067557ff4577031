"""Base images: the layer below every environment, found or built once.

    pins (images/bases, or a newer version in the home folder) -> .deb files -> tree -> diffID -> record

The second call reads one small record.
"""

import hashlib
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from envbuild.errors import BaseError
from envbuild.images.catalog import BaseRecipe, base_names, read_base, read_recipe, write_recipe
from envbuild.settings import Settings

from . import atomic
from .apt import find_apt
from .debian import unpack_packages
from .layer import tree_digest
from .report import Reporter

BUILDER_VERSION = 1
"""Raise it whenever the same packages would give another tree."""

_NAME_LENGTH = 12


class DroppedPins(BaseError):
    """The mirror no longer has a pinned version."""


@dataclass(frozen=True)
class Base:
    """A base that is there: its one layer, unpacked."""

    name: str
    version: int
    diff_id: str
    size: int
    """Bytes of the layer's tar."""
    tree: Path
    packages: int


@dataclass(frozen=True)
class BaseRow:
    """What `envbuild base list` shows."""

    name: str
    version: int
    description: str
    packages: int
    built: bool


@dataclass(frozen=True)
class BaseUpdate:
    """What `envbuild base update` changed."""

    version: int
    changes: tuple[str, ...]


def ensure_base(name: str, settings: Settings, reporter: Reporter) -> Base:
    """The base `name`, built now if it was not before.

    Raises:
        NotFound: no base has that name.
        DroppedPins: the mirror has not got a pinned version any more.
        BaseError: the packages cannot be had here.
    """
    recipe = _newest(name, settings)
    folder = _folder(recipe, settings)
    with atomic.key_lock(settings.home / "bases", name):
        known = _known(recipe, folder, settings)
        if known is not None:
            return known
        reporter.say(f"building the base {name}:{recipe.version} from {len(recipe.packages)} Debian packages, once")
        files = _download(recipe, settings, reporter)
        return _build(recipe, files, folder, settings)


def update_base(name: str, settings: Settings, reporter: Reporter) -> BaseUpdate:
    """Pin the packages of `name` again, as the mirror offers them now; a change makes a new version of the base.

    Raises:
        NotFound, BaseError: as `ensure_base`.
    """
    recipe = _newest(name, settings)
    apt = find_apt(settings.home / "cache" / "apt", recipe.platform, reporter)
    with reporter.task("apt", None):
        apt.update()
        offered = apt.offered([package.name for package in recipe.packages])
    changes = tuple(
        f"{old.name}  {old.version} -> {new.version}"
        for old, new in zip(recipe.packages, offered, strict=True)
        if old != new
    )
    if not changes:
        return BaseUpdate(recipe.version, ())
    newer = replace(recipe, version=recipe.version + 1, packages=tuple(offered))
    atomic.write_file(_folder(newer, settings) / "pins.toml", write_recipe(newer).encode(), durable=True)
    return BaseUpdate(newer.version, changes)


def list_bases(settings: Settings) -> list[BaseRow]:
    """Every base that `register` can use, in its newest version."""
    rows = []
    for name in base_names():
        recipe = _newest(name, settings)
        built = _known(recipe, _folder(recipe, settings), settings) is not None
        rows.append(BaseRow(name, recipe.version, recipe.description, len(recipe.packages), built))
    return rows


def _newest(name: str, settings: Settings) -> BaseRecipe:
    recipe = read_base(name)
    for file in sorted((settings.home / "bases" / name).glob("*/pins.toml")):
        updated = read_recipe(file, name)
        if updated.version > recipe.version:
            recipe = updated
    return recipe


def _folder(recipe: BaseRecipe, settings: Settings) -> Path:
    return settings.home / "bases" / recipe.name / str(recipe.version)


def _known(recipe: BaseRecipe, folder: Path, settings: Settings) -> Base | None:
    """The base from its record, when that is of these very packages and the tree is there."""
    try:
        record = json.loads((folder / "base.json").read_bytes())
        tree = settings.home / "trees" / record["tree"]
        if record["made_of"] == _made_of(recipe) and tree.is_dir():
            return Base(recipe.name, recipe.version, record["diff_id"], record["size"], tree, len(recipe.packages))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _made_of(recipe: BaseRecipe) -> dict[str, object]:
    return {"builder": BUILDER_VERSION, "packages": {each.name: each.sha256 for each in recipe.packages}}


def _download(recipe: BaseRecipe, settings: Settings, reporter: Reporter) -> list[tuple[str, Path]]:
    """Every `.deb`, verified; the package lists are brought only when something is missing."""
    files = {
        package.name: settings.home / "packages" / package.sha256 / f"{package.name}.deb" for package in recipe.packages
    }
    missing = [package for package in recipe.packages if not files[package.name].is_file()]
    if missing:
        apt = find_apt(settings.home / "cache" / "apt", recipe.platform, reporter)
        with reporter.task("base", None) as task, tempfile.TemporaryDirectory(dir=apt.folder) as scratch:
            apt.update()
            arrived = apt.download(missing, Path(scratch))
            for package in missing:
                if package.name in arrived:
                    atomic.write_file(files[package.name], arrived[package.name].read_bytes())
                    task.advance(package.size)
        lost = [f"{package.name} {package.version}" for package in missing if package.name not in arrived]
        if lost:
            raise DroppedPins(
                f"the Debian mirror has no longer {', '.join(lost[:5])}{' and more' if len(lost) > 5 else ''}, or "
                f"cannot be reached; if it can, pin the base again: envbuild base update {recipe.name}"
            )
    return sorted(files.items())


def _build(recipe: BaseRecipe, files: list[tuple[str, Path]], folder: Path, settings: Settings) -> Base:
    made_of = _made_of(recipe)
    name = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:_NAME_LENGTH]
    target = settings.home / "trees" / name
    if not target.is_dir():
        with atomic.new_folder(target) as tree:
            unpack_packages(files, tree)
    diff_id, size = tree_digest(target)
    record = {"diff_id": diff_id, "size": size, "tree": name, "made_of": made_of}
    atomic.write_file(folder / "base.json", json.dumps(record, indent=1, sort_keys=True).encode())
    return Base(recipe.name, recipe.version, diff_id, size, target, len(recipe.packages))
