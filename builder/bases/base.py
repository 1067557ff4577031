"""Base images: the layers below every environment, found, built or pulled once.

    pins (images/bases, or a newer version in the home folder) -> .deb files -> tree -> diffID -> record

The second call reads one small record. Bases that envbuild.toml names in `[bases]` come from registries
(`registry_base`); a project's own name stands before one of ours.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from envbuild.errors import BaseError, NotFound, StoreError
from envbuild.images.catalog import (
    LINUX_64,
    BaseRecipe,
    PinnedPackage,
    base_names,
    read_base,
    read_recipe,
    registry_bases,
    write_recipe,
)
from envbuild.settings import Settings

from .. import atomic
from ..image import Layer, chain_id, digest
from ..layers.layer import tree_digest
from ..report import Reporter, size
from .apt import Apt, find_apt
from .debian import unpack_packages

BUILDER_VERSION = 2
"""Raise it whenever the same packages would give another tree."""

_NAME_LENGTH = 12
_LISTS = 40_000_000
"""Bytes that the package lists of a Debian release take, with some to spare."""


class DroppedPins(BaseError):
    """The mirror answers, but no longer has a pinned version."""


@dataclass(frozen=True)
class Base:
    """A base that is there, unpacked."""

    name: str
    version: int
    layers: tuple[Layer, ...]
    """The lowest first; one, for a base of Debian packages."""
    trees: tuple[Path, ...]
    """The folders of the layers."""
    packages: int
    """Debian packages; 0 for a base from a registry."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The variables of a registry image's config, which images built on it inherit."""

    @property
    def identity(self) -> str:
        """What an environment built on it depends on: the layers' ChainID, and the variables where there are any."""
        chain = chain_id([layer.diff_id for layer in self.layers])
        return digest(json.dumps([chain, dict(self.env)], sort_keys=True).encode()) if self.env else chain


@dataclass(frozen=True)
class BaseRow:
    """What `envbuild base list` shows."""

    name: str
    version: int
    """0 for a base from a registry whose tag was never resolved."""
    description: str
    packages: int
    built: bool
    """Whether it is here."""


@dataclass(frozen=True)
class BaseUpdate:
    """What `envbuild base update` changed, or would."""

    version: int
    changes: tuple[str, ...]


def ensure_base(
    name: str, settings: Settings, reporter: Reporter, platform: str = LINUX_64, *, version: int | None = None
) -> Base:
    """The base `name` for `platform` (its newest version, or `version`), built now if it was not before.

    Raises:
        NotFound: no base has that name, it is not pinned for that platform, or there is no such version here.
        DroppedPins: the mirror answers, and has not got a pinned version any more.
        BaseError: the packages cannot be had here, or the mirror cannot be reached.
        StoreError: the disk is full.
    """
    settings = _with_curated(settings)
    if name in settings.bases:
        from .registry_base import ensure_registry_base

        return ensure_registry_base(name, settings, reporter, platform, version)
    recipe = _newest(name, settings, platform) if version is None else _pinned(name, settings, platform, version)
    folder = _folder(recipe, settings)
    with atomic.key_lock(settings.home / "bases", folder.parent.name):
        known = _known(recipe, folder, settings)
        if known is not None:
            return known
        reporter.say(f"building the base {name}:{recipe.version} from {len(recipe.packages)} Debian packages, once")
        try:
            files = _download(recipe, settings, reporter)
            return _build(recipe, files, folder, settings)
        except OSError as error:
            reason = error.strerror or error
            raise StoreError(f"{settings.home} cannot be written ({reason}); make room and try again") from error


def base_recipe(name: str, version: int, settings: Settings, platform: str = LINUX_64) -> BaseRecipe | None:
    """What the base `name:version` is made of; `None` for one that is not made of packages, or is not known here."""
    try:
        return _pinned(name, settings, platform, version)
    except NotFound:
        return None


def base_packages(recipe: BaseRecipe, settings: Settings, reporter: Reporter) -> dict[str, Path]:
    """sha256 -> `.deb` file of everything that a base is made of, downloaded now where it is not here.

    Raises:
        DroppedPins, BaseError: as `ensure_base`.
    """
    files = dict(_download(recipe, settings, reporter))
    return {package.sha256: files[package.name] for package in recipe.packages}


def base_key(name: str, settings: Settings, reporter: Reporter, platform: str = LINUX_64) -> str:
    """`sha256:<hex>` that tells which base `name` means now, without building or pulling it.

    Raises:
        NotFound: no base has that name, or it is not pinned for that platform.
        RegistryError: a tag that was never resolved cannot be.
    """
    settings = _with_curated(settings)
    if name in settings.bases:
        from .registry_base import registry_base_key

        return registry_base_key(name, settings, reporter, platform)
    return digest(json.dumps(_made_of(_newest(name, settings, platform)), sort_keys=True).encode())


def update_base(
    name: str, settings: Settings, reporter: Reporter, platform: str = LINUX_64, *, dry_run: bool = False
) -> BaseUpdate:
    """Pin `name` again, as the mirror or registry offers it now; a change makes a new version of the base.

    With `dry_run` nothing is written.

    Raises:
        NotFound, BaseError, RegistryError: as `ensure_base`.
    """
    settings = _with_curated(settings)
    if name in settings.bases:
        from .registry_base import update_registry_base

        return update_registry_base(name, settings, reporter, platform, dry_run=dry_run)
    read_base(name, platform, settings.bases)
    with atomic.key_lock(settings.home / "bases", _of_platform(name, platform)):  # of two at once one has the number
        recipe = _newest(name, settings, platform)
        with reporter.task("apt", None), _apt(recipe, settings, reporter) as apt:
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
        if not dry_run:
            atomic.write_file(_folder(newer, settings) / "pins.toml", write_recipe(newer).encode(), durable=True)
        return BaseUpdate(newer.version, changes)


def list_bases(settings: Settings) -> list[BaseRow]:
    """Every base that `register` can use, in its newest version."""
    from .registry_base import registry_base_row

    settings = _with_curated(settings)
    rows = []
    for name in base_names():
        if name in settings.bases:  # the project's own stands before ours
            continue
        recipe = _newest(name, settings)
        built = _known(recipe, _folder(recipe, settings), settings) is not None
        rows.append(BaseRow(name, recipe.version, recipe.description, len(recipe.packages), built))
    return rows + [registry_base_row(name, settings) for name in sorted(settings.bases)]


def show_base(name: str, settings: Settings) -> dict[str, object]:
    """What is known of the base `name` here, without building or asking a registry.

    Raises:
        NotFound: no base has that name.
    """
    settings = _with_curated(settings)
    if name in settings.bases:
        from .registry_base import show_registry_base

        return show_registry_base(name, settings)
    recipe = _newest(name, settings)
    known = _known(recipe, _folder(recipe, settings), settings)
    return {
        "name": name,
        "version": recipe.version,
        "description": recipe.description,
        "platform": recipe.platform,
        "built": known is not None,
        "layers": [{"diff_id": each.diff_id, "size": each.size} for each in known.layers] if known else [],
        "packages": [f"{each.name} {each.version}" for each in recipe.packages],
    }


def _with_curated(settings: Settings) -> Settings:
    """`settings` with the curated bases that come from registries; a project's own of the same name stays."""
    return replace(settings, bases={**registry_bases(), **settings.bases})


@contextmanager
def _apt(recipe: BaseRecipe, settings: Settings, reporter: Reporter, download: int = 0) -> Iterator[Apt]:
    """apt, with lists of the recipe's platform alone, for nobody else meanwhile: all bases share them.

    `download` is the size in bytes of what it is wanted for.

    Raises:
        StoreError: there is no room. On a full disk apt waits for ever, or leaves the beginnings of files.
    """
    name = _of_platform("apt", recipe.platform)
    needed = _LISTS + 2 * download  # each file arrives in one folder, and is kept in another
    with atomic.key_lock(settings.home / "cache", name):
        free = shutil.disk_usage(settings.home).free
        if free < needed:
            raise StoreError(
                f"{settings.home} has room for {size(free)}, and the Debian packages of the base {recipe.name} take "
                f"about {size(needed)} at first; make room and try again"
            )
        yield find_apt(settings.home / "cache" / name, recipe.platform, reporter)


def _newest(name: str, settings: Settings, platform: str = LINUX_64) -> BaseRecipe:
    return max(_recipes(name, settings, platform), key=lambda recipe: recipe.version)


def _pinned(name: str, settings: Settings, platform: str, version: int) -> BaseRecipe:
    recipes = _recipes(name, settings, platform)
    for recipe in recipes:
        if recipe.version == version:
            return recipe
    known = ", ".join(str(recipe.version) for recipe in recipes)
    raise NotFound(f"the base {name} has no version {version} here; it has {known}")


def _recipes(name: str, settings: Settings, platform: str) -> list[BaseRecipe]:
    """The base as envbuild brings it, and as `base update` pinned it since; of equal versions the latter."""
    files = sorted((settings.home / "bases" / _of_platform(name, platform)).glob("*/pins.toml"))
    return [*(read_recipe(file, name) for file in files), read_base(name, platform, settings.bases)]


def _folder(recipe: BaseRecipe, settings: Settings) -> Path:
    return settings.home / "bases" / _of_platform(recipe.name, recipe.platform) / str(recipe.version)


def _of_platform(name: str, platform: str) -> str:
    """The folder of `name` for `platform`; names of bases have no `@`."""
    return name if platform == LINUX_64 else f"{name}@{platform}"


def _known(recipe: BaseRecipe, folder: Path, settings: Settings) -> Base | None:
    """The base from its record, when that is of these very packages and the tree is there."""
    try:
        record = json.loads((folder / "base.json").read_bytes())
        tree = settings.home / "trees" / record["tree"]
        if record["made_of"] == _made_of(recipe) and tree.is_dir():
            return _base(recipe, record["diff_id"], record["size"], tree)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _made_of(recipe: BaseRecipe) -> dict[str, object]:
    return {"builder": BUILDER_VERSION, "packages": {each.name: each.sha256 for each in recipe.packages}}


def package_file(package: PinnedPackage, home: Path) -> Path:
    """Where the `.deb` file of `package` is kept."""
    return home / "packages" / package.sha256 / f"{package.name}.deb"


def _download(recipe: BaseRecipe, settings: Settings, reporter: Reporter) -> list[tuple[str, Path]]:
    """Every `.deb`, verified; the package lists are brought only when something is missing."""
    files = {package.name: package_file(package, settings.home) for package in recipe.packages}
    missing = [package for package in recipe.packages if not files[package.name].is_file()]
    if missing:
        with (
            reporter.task("base", None) as task,
            _apt(recipe, settings, reporter, sum(each.size for each in missing)) as apt,
        ):
            complaint = apt.update()
            with tempfile.TemporaryDirectory(dir=apt.folder) as scratch:
                arrived = apt.download(missing, Path(scratch))
                for package in missing:
                    if package.name in arrived:
                        atomic.write_file(files[package.name], arrived[package.name].read_bytes())
                        task.advance(package.size)
            lost = [package for package in missing if package.name not in arrived]
            if lost:
                raise _why_lost(lost, apt, complaint, recipe)
    return sorted(files.items())


def _why_lost(lost: Sequence[PinnedPackage], apt: Apt, complaint: str, recipe: BaseRecipe) -> BaseError:
    """What to tell about packages that did not arrive: only a mirror that offers other versions has dropped a pin."""
    known = apt.versions([package.name for package in lost])
    dropped = [package for package in lost if package.name in known and package.version not in known[package.name]]
    if dropped:
        option = "" if recipe.platform == LINUX_64 else f" --platform {recipe.platform}"
        return DroppedPins(
            f"the Debian mirror has no longer {_named(dropped)}; pin the base again: "
            f"envbuild base update {recipe.name}{option}"
        )
    return BaseError(
        f"no Debian mirror hands out {_named(lost)} ({complaint or 'apt gives no reason'}); check the network and this "
        "machine's apt sources, and try again"
    )


def _named(packages: Sequence[PinnedPackage]) -> str:
    shown = ", ".join(f"{package.name} {package.version}" for package in packages[:5])
    return f"{shown} and {len(packages) - 5} more" if len(packages) > 5 else shown


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
    return _base(recipe, diff_id, size, target)


def _base(recipe: BaseRecipe, diff_id: str, size: int, tree: Path) -> Base:
    layer = Layer(diff_id, size, tree.name, f"base {recipe.name}:{recipe.version}", ())
    return Base(recipe.name, recipe.version, (layer,), (tree,), len(recipe.packages))
