"""A registered version in, an archive out, and back: how environments reach sites without a network.

The archive is an OCI layout (a tar or a folder) that every OCI tool reads. The environment's files travel in it as
artifacts that refer to the image; so do, when asked for, its packages, each as the blob that its sha256 names.
"""

import json
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from envbuild.builder import atomic
from envbuild.builder.bases.base import base_packages, base_recipe, package_file
from envbuild.builder.file_digest import sha256_of
from envbuild.builder.image import INDEX_TYPE, digest, make_index
from envbuild.builder.layers.unpack_layer import Readable
from envbuild.builder.lock import LockedPackage, read_locks
from envbuild.builder.platforms import PLATFORMS
from envbuild.builder.publish.archive import docker_parts, export_archive
from envbuild.builder.publish.artifact import (
    ENVIRONMENT_TYPE,
    PACKAGES_TYPE,
    SBOM_TYPE,
    make_artifacts,
    make_package_artifact,
    read_packages,
    read_titles,
)
from envbuild.builder.publish.layout import export_layout, image_reference, layout_parts
from envbuild.builder.publish.read_layout import Layout
from envbuild.builder.report import Reporter
from envbuild.builder.store import Store
from envbuild.errors import ExportError, InputError, LayerError, StoreError
from envbuild.images.catalog import BaseRecipe
from envbuild.settings import Settings

from .environments import Environment
from .rebuild import ready
from .restore import Restoration, restore, travelling_files


@dataclass(frozen=True)
class Exported:
    """What `export_environment` wrote."""

    digest: str
    """Of the image, or the index of several platforms' images."""
    reference: str
    """The tag that the image has in the archive."""


def export_environment(
    environment: Environment,
    kind: str,
    path: Path,
    settings: Settings,
    reporter: Reporter,
    *,
    with_packages: bool = False,
) -> Exported:
    """Write the image of `environment` to `path`: `kind` is `oci`, `oci-archive` or `docker-archive`.

    Raises:
        ExportError: `path` is in use or cannot be written, or a package is no longer here.
        StoreError: a layer is missing or was changed.
    """
    with ready(environment, settings, reporter):
        store = Store(settings.home)
        image, *others = environment.all_images(store)
        reference = image_reference(environment.name, environment.version)
        if kind == "docker-archive":
            export_archive(docker_parts(image, reference), store, path, reporter)
            return Exported(image.digest, reference)
        whole = make_index((image, *others)) if others else image.manifest
        artifacts = make_artifacts(whole, travelling_files(environment))
        packages: dict[str, Path] = {}
        if with_packages:
            packages = _packages(environment, settings) | _packages_of_base(environment, settings, reporter)
            artifacts += (make_package_artifact(whole, packages),)
        parts = layout_parts(image, reference, artifacts, packages, others)
        if kind == "oci":
            export_layout(parts, store, path, reporter)
        else:
            export_archive(parts, store, path, reporter)
        return Exported(digest(whole), reference)


@dataclass(frozen=True)
class Imported:
    """What `import_environment` did."""

    restoration: Restoration
    packages: int
    """Packages that were put beside the downloaded ones."""


def import_environment(path: Path, settings: Settings, reporter: Reporter, *, name: str | None = None) -> Imported:
    """Register the environment in the archive or layout folder `path`; every byte is verified by its digest.

    Raises:
        InputError: `path` is no archive, or holds no environment.
        LayerError: it is damaged, or holds something refused.
        StoreError: the disk is full.
    """
    layout = Layout(path)
    top, files, packages = _find_environment(layout)
    configs: list[bytes] = []
    blobs: dict[str, str] = {}
    for manifest in _manifests(layout, top):
        config, layers = _read_manifest(layout, manifest)
        configs.append(layout.blob(config))
        blobs |= layers

    def open_layer(diff_id: str) -> AbstractContextManager[Readable]:
        return layout.open(blobs[diff_id])

    restoration = restore(
        configs,
        {title: layout.blob(blob) for title, blob in files.items()},
        open_layer,
        settings,
        reporter,
        name=name,
    )
    return Imported(restoration, _keep_packages(restoration.environment, layout, packages, settings, reporter))


def _find_environment(layout: Layout) -> tuple[str, dict[str, str], set[str]]:
    """The digest of the one image (or index) with an environment, the environment's files (name -> digest), its
    packages."""
    try:
        entries = [(str(each["digest"]), each.get("artifactType")) for each in layout.index["manifests"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{layout.path} has a damaged index.json: {error}") from None
    artifacts = [layout.blob(entry) for entry, kind in entries if kind in (ENVIRONMENT_TYPE, SBOM_TYPE, PACKAGES_TYPE)]
    found = []
    for image in [entry for entry, kind in entries if kind is None]:
        files: dict[str, str] = {}
        packages: set[str] = set()
        for artifact in artifacts:
            titles = read_titles(artifact, image, (ENVIRONMENT_TYPE, SBOM_TYPE))
            files |= {title: blob for title, (blob, _) in titles.items()}
            packages |= read_packages(artifact, image)
        if files:
            found.append((image, files, packages))
    if len(found) != 1:
        many = f"{len(found)} environments" if found else "no environment"
        raise InputError(
            f"{layout.path} holds {many} of envbuild, where one was expected; envbuild export NAME oci-archive:FILE "
            "writes such an archive (to a container engine any other can be loaded)"
        )
    return found[0]


def _manifests(layout: Layout, name: str) -> list[str]:
    """The digests of the manifests of an index, in its order; a manifest's own digest alone."""
    try:
        document = json.loads(layout.blob(name))
        if document.get("mediaType") != INDEX_TYPE:
            return [name]
        manifests = [str(each["digest"]) for each in document["manifests"]]
        if len(manifests) > len(PLATFORMS):
            raise ValueError(f"{len(manifests)} manifests for {len(PLATFORMS)} platforms")
        return manifests
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LayerError(f"the manifest {name} in {layout.path} cannot be read: {error}") from None


def _read_manifest(layout: Layout, image_digest: str) -> tuple[str, dict[str, str]]:
    """The digest of the image's config, and diffID -> digest of the blob that holds this layer."""
    try:
        manifest = json.loads(layout.blob(image_digest))
        config = str(manifest["config"]["digest"])
        diff_ids = json.loads(layout.blob(config))["rootfs"]["diff_ids"]
        return config, {
            str(each): str(layer["digest"]) for each, layer in zip(diff_ids, manifest["layers"], strict=True)
        }
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LayerError(f"the manifest {image_digest} in {layout.path} cannot be read: {error}") from None


def _keep_packages(
    environment: Environment, layout: Layout, packages: Collection[str], settings: Settings, reporter: Reporter
) -> int:
    """Put the packages that the lock or the pins of the base name where downloads are kept; their names are those of
    lock and pins, not the archive's."""
    kept = 0
    places = {each.sha256: settings.home / "packages" / each.sha256 / each.filename for each in _locked(environment)}
    for recipe in _recipes(environment, settings):
        places |= {each.sha256: package_file(each, settings.home) for each in recipe.packages}
    wanted = {sha256: target for sha256, target in places.items() if f"sha256:{sha256}" in packages}
    with reporter.task("packages", len(wanted), "packages") as task:
        for sha256, target in wanted.items():
            try:
                if not target.is_file():
                    _copy(layout, f"sha256:{sha256}", target)
                    kept += 1
            except OSError as error:
                raise StoreError(f"{target} cannot be written ({error.strerror or error}); make room") from error
            task.advance(1)
    return kept


def _copy(layout: Layout, blob: str, target: Path) -> None:
    with atomic.new_file(target) as file, layout.open(blob) as source, file.open("wb") as output:
        while data := source.read(1 << 20):
            output.write(data)


def _locked(environment: Environment) -> list[LockedPackage]:
    """The packages of all platforms, each once."""
    locks = read_locks(environment.lock_file, environment.platforms)
    return list({package.sha256: package for lock in locks for package in lock.packages}.values())


def _recipes(environment: Environment, settings: Settings) -> list[BaseRecipe]:
    """What the base is made of on every platform; nothing for one from a registry, or whose pins are not known here."""
    base = environment.record["base"]
    found = (base_recipe(base["name"], base["version"], settings, platform) for platform in environment.platforms)
    return [each for each in found if each is not None]


def _packages_of_base(environment: Environment, settings: Settings, reporter: Reporter) -> dict[str, Path]:
    """sha256 -> `.deb` file of what the base is made of."""
    files: dict[str, Path] = {}
    for recipe in _recipes(environment, settings):
        files |= base_packages(recipe, settings, reporter)
    return files


def _packages(environment: Environment, settings: Settings) -> dict[str, Path]:
    """sha256 -> file of every package of the lock, as it was downloaded."""
    locked = _locked(environment)
    files = {each.sha256: settings.home / "packages" / each.sha256 / each.filename for each in locked}
    missing = sorted(file.name for file in files.values() if not file.is_file())
    if missing:
        raise ExportError(
            f"{len(missing)} packages of {environment.reference} are no longer here ({', '.join(missing[:3])}); "
            "register it again to download them, or export without --with-packages"
        )
    for sha256, file in files.items():
        if sha256_of(file) != sha256:
            raise ExportError(f"{file} was changed; remove it and register {environment.reference} again")
    return files
