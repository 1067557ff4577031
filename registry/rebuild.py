"""A registered environment whose layers were collected: built again from its own lock, and compared by digest."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from envbuild.builder.bases.base import Base, ensure_base
from envbuild.builder.build import Build, build
from envbuild.builder.home_lock import holding, sharing
from envbuild.builder.image import Layer
from envbuild.builder.layers.trees import add_foreign_tree
from envbuild.builder.lock import read_lock
from envbuild.builder.log import FILE_NAME as LOG_NAME
from envbuild.builder.log import BuildLog
from envbuild.builder.report import Reporter
from envbuild.builder.store import Store
from envbuild.errors import NotFound, StoreError
from envbuild.settings import Settings

from .environments import Environment, image_layers, touch

LABELS = {"org.opencontainers.image.title": "envbuild"}
"""What every image of ours is labelled with."""


@contextmanager
def ready(
    environment: Environment, settings: Settings, reporter: Reporter, log_folder: Path | None = None
) -> Iterator[None]:
    """Have every layer of `environment` there until the block ends, whatever `gc` does meanwhile.

    What was collected is built again, aloud; the log of that goes to `log_folder` (default: a new one in `logs/`).

    Raises:
        EnvbuildError: as `ensure_trees`.
    """
    store = Store(settings.home)
    with ExitStack() as stack:
        with sharing(settings.home, reporter):
            folder = log_folder or settings.home / "logs" / f"{environment.name}-{environment.version}-rebuilt"
            ensure_trees(environment, settings, reporter, folder)
            touch(environment)
            stack.enter_context(holding(store.tree(layer) for layer in environment.all_layers))
        yield


def ensure_trees(environment: Environment, settings: Settings, reporter: Reporter, log_folder: Path) -> None:
    """Make sure that every layer of `environment` is there to be mounted; the log of a build goes to `log_folder`.

    Raises:
        StoreError: what is built now is not what was registered.
        EnvbuildError: as the stages of a build say; its base is not there any more, for instance.
    """
    if Store(settings.home).has_trees(environment.all_layers):
        return
    reporter.say(f"the layers of {environment.reference} were collected; building them again from its lock")
    log = BuildLog(log_folder / LOG_NAME, reporter)
    try:
        builds = build_again(environment, settings, log)
    finally:
        log.close()
    made = {layer.diff_id for each in builds.values() for layer in each.image.layers}
    for layer in environment.all_layers:
        if layer.diff_id not in made:
            raise StoreError(
                f"the layer {layer.title!r} of {environment.reference} was registered as {layer.diff_id}, but its lock "
                f"gives another one now (another version of envbuild?); envbuild verify {environment.reference} says "
                "what differs, or register it again"
            )


def build_again(environment: Environment, settings: Settings, log: BuildLog) -> dict[str, Build]:
    """Build every platform's image of `environment` from its lock: platform -> what was made.

    Raises:
        EnvbuildError: as the stages of a build say.
    """
    record: Any = environment.record
    ingredients: Mapping[str, Any] = record["ingredients"]
    allowed = replace(settings, allow_scripts=tuple(ingredients.get("allowed_scripts", ())))
    variables = tuple(sorted(ingredients["variables"].items()))
    builds = {}
    for platform, image in record.get("images", {record["platform"]: record["image"]}).items():
        lock = read_lock(environment.lock_file, platform)
        base = _base(record["base"], image_layers(image), platform, settings, log)
        builds[platform] = build(lock, variables, LABELS, base, allowed, log)
    return builds


def _base(
    described: Mapping[str, Any], layers: Sequence[Layer], platform: str, settings: Settings, reporter: Reporter
) -> Base:
    """The base that the environment was built on: its trees, when they are there, or made of its blobs; else built or
    pulled again."""
    below = tuple(layer for layer in layers if layer.blob) or tuple(layers[:1])
    trees = tuple(settings.home / "trees" / layer.tree for layer in below)
    _unpack_blobs([layer for layer, tree in zip(below, trees, strict=True) if not tree.is_dir()], settings)
    if all(tree.is_dir() for tree in trees):
        return Base(described["name"], described["version"], below, trees, 0, described.get("variables", {}))
    name, version = described["name"], described["version"]
    try:
        return ensure_base(name, settings, reporter, platform, version=version)
    except NotFound as error:
        raise NotFound(
            f"the layers below are of the base {name}:{version}, which is not here any more, and {error}; where it "
            f"came from a registry, name it in envbuild.toml: [bases] {name} = {{ image = ... }}"
        ) from None


def _unpack_blobs(layers: Sequence[Layer], settings: Settings) -> None:
    """The trees of layers that others wrote, out of the blobs that are here: no registry needs to be asked."""
    store = Store(settings.home)
    files = {layer.diff_id: store.blob_file(layer.blob.digest) for layer in layers if layer.blob}
    if len(files) == len(layers) and all(file.is_file() for file in files.values()):
        for layer in layers:
            add_foreign_tree(settings.home, layer.diff_id, layer.size, lambda diff_id: files[diff_id].open("rb"))
