"""An image and the files of its environment in, a registered version out: what `import` and `pull` have in common.

Layers that this home has are taken from it; the others are unpacked into trees, two at a time, and verified against
their diffIDs. What `environment.json` says is checked before (`travelling_record`).
"""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envbuild.builder.home_lock import sharing
from envbuild.builder.image import Blob, Image, Layer, make_index
from envbuild.builder.layers.trees import OpenLayer, add_foreign_tree, add_tree, find_trees
from envbuild.builder.log import FILE_NAME as LOG_NAME
from envbuild.builder.report import Reporter
from envbuild.builder.store import Store
from envbuild.settings import Settings

from . import project
from .environments import LOCK, Environment, add_version, check_name, find_version, image_record
from .index import RECORD
from .travelling_record import check_images, platforms_of, read_record

FILES = ("spec.yml", "requirements.txt", LOCK, LOG_NAME, "sbom.cdx.json", "provenance.json", "provenance.dsse.json")
"""What travels beside `environment.json`: those of these that a version has."""


def travelling_files(environment: Environment) -> dict[str, bytes]:
    """The files of `environment` that `restore` wants, by name."""
    return {
        name: (environment.folder / name).read_bytes()
        for name in (RECORD, *FILES)
        if (environment.folder / name).is_file()
    }


@dataclass(frozen=True)
class Restoration:
    """What `restore` did."""

    environment: Environment
    status: str
    """`restored` (a new version) or `there` (this home had it)."""
    unpacked: int
    """Layers that had to be unpacked; the others were there."""


def restore(
    configs: Sequence[bytes],
    files: Mapping[str, bytes],
    open_layer: OpenLayer,
    settings: Settings,
    reporter: Reporter,
    *,
    name: str | None = None,
) -> Restoration:
    """Register the environment that `files` (`environment.json` and those of `FILES`) and `configs` describe.

    `configs` are those of its platforms, in the order of `travelling_record.platforms_of`. It keeps its name and
    version; where another environment has that version here, it gets the next one, and the reporter says so.
    `open_layer` is asked only for layers that are missing.

    Raises:
        LayerError: a file or a layer is damaged, or they do not belong together.
        StoreError: the disk is full.
    """
    record = read_record(files)
    wanted = check_name(str(record["name"]) if name is None else name)
    images = check_images(record, configs)
    with sharing(settings.home, reporter):
        images, unpacked = _unpack_missing(images, open_layer, settings, reporter)
        _keep_documents(images, Store(settings.home))
        known = find_version(settings.home, wanted, record["environment_id"], images[0].digest)
        if known is not None:
            project.remember(settings, known.reference)
            return Restoration(known, "there", unpacked)
        environment = _add(record, wanted, images, files, settings)
        if environment.version != record["version"]:
            reporter.say(
                f"{wanted}:{record['version']} is another environment here; this one is registered as "
                f"{environment.reference}"
            )
        project.remember(settings, environment.reference)
        return Restoration(environment, "restored", unpacked)


def _unpack_missing(
    images: Sequence[Image], open_layer: OpenLayer, settings: Settings, reporter: Reporter
) -> tuple[tuple[Image, ...], int]:
    """The images, whose layers have the names of their trees, and how many were unpacked; the largest first."""
    layers = [layer for image in images for layer in image.layers]
    trees = find_trees(settings.home)
    foreign: dict[str, Blob] = {}
    missing = {layer.diff_id: layer.size for layer in layers if layer.diff_id not in trees or layer.blob}
    others = {layer.diff_id for layer in layers if layer.blob}
    with reporter.task("unpack", sum(missing.values())) as task, ThreadPoolExecutor(settings.workers or 2) as pool:

        def unpack(diff_id: str) -> str:
            if diff_id in others:  # the layers of a base that envbuild did not make
                tree, _, foreign[diff_id] = add_foreign_tree(settings.home, diff_id, missing[diff_id], open_layer)
            else:
                tree = add_tree(settings.home, diff_id, missing[diff_id], open_layer)
            task.advance(missing[diff_id])
            return tree

        jobs = {diff_id: pool.submit(unpack, diff_id) for diff_id in sorted(missing, key=lambda each: -missing[each])}
        try:
            trees |= {diff_id: job.result() for diff_id, job in jobs.items()}
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise

    def located(layer: Layer) -> Layer:
        return replace(layer, tree=trees[layer.diff_id], blob=foreign.get(layer.diff_id))

    return tuple(replace(image, layers=tuple(map(located, image.layers))) for image in images), len(missing)


def _keep_documents(images: Sequence[Image], store: Store) -> None:
    for image in images:
        store.add(image)
    if len(images) > 1:
        store.add_index(make_index(images))


def _add(
    record: Mapping[str, Any], name: str, images: Sequence[Image], files: Mapping[str, bytes], settings: Settings
) -> Environment:
    own = {key: value for key, value in record.items() if key not in ("name", "version")}
    with tempfile.TemporaryDirectory() as folder:
        sources = {}
        for file in FILES:
            if file in files:
                sources[file] = Path(folder) / file
                sources[file].write_bytes(files[file])
        recorded = dict(zip(platforms_of(record), map(image_record, images), strict=True))
        document = {**own, "image": recorded[record["platform"]]}
        if "images" in record:
            document["images"] = recorded
        return add_version(settings.home, name, document, sources, wish=record["version"])[0]
