"""A lock in, a stored image out: fetch, read, plan, unpack, describe.

    Lock -> fetch -> Package -> plan_layers -> build_layers -> environment layer -> make_image -> Store

Every stage is timed and logged. The last layer belongs to the environment alone: the `conda-meta` records, which
scanners and conda itself read to know what is installed.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import BaseError
from envbuild.settings import Settings

from . import atomic
from .activation import activation_variables
from .base import Base
from .fetch import fetch
from .image import Image, Layer, make_image
from .lock import Lock, lock_digest
from .log import BuildLog
from .pack import PACKER_VERSION, files_of, piece_key
from .package import Package, read_package
from .pieces import NAME_LENGTH, build_layers, find_python, layer_digest
from .plan import PREFIX, Plan, environment_id, plan_layers
from .sandbox import RootFilesystem
from .store import Store

_META_TIME = 315532800
"""1980-01-01 for the files that we write ourselves: their content says everything."""


@dataclass(frozen=True)
class Build:
    """What a build made."""

    environment_id: str
    ingredients: Mapping[str, object]
    image: Image
    packages: int
    packed: int
    """How many of the packages were not there from earlier builds."""


def build(
    lock: Lock,
    variables: Sequence[tuple[str, str]],
    labels: Mapping[str, str],
    base: Base,
    settings: Settings,
    log: BuildLog,
) -> Build:
    """Build the image of `lock` on `base` and keep it in the store.

    Raises:
        FetchError, PackageError, PlanError, SandboxError, StoreError: as the stages say.
    """
    if base.tree.stat().st_uid != os.geteuid():
        raise BaseError(f"{base.tree} belongs to another user; set ENVBUILD_HOME to a folder of your own")
    identity, ingredients = environment_id(lock, base.diff_id, variables, PACKER_VERSION)
    log.log("plan", f"environment {identity}, base {base.name}:{base.version} {base.diff_id}")
    with log.stage("fetch"):
        files = fetch(lock.packages, settings.home / "packages", log, settings)
    with log.stage("plan"):
        packages = [read_package(package, files[package.sha256]) for package in lock.packages]
        plan = plan_layers(packages)
        _log_plan(plan, log)
    with log.stage("pack"):
        pieces = build_layers(plan, base, settings, log)
    with log.stage("image"):
        bottom = Layer(base.diff_id, base.size, base.tree.name, f"base {base.name}:{base.version}", ())
        top = _environment_layer(packages, identity, settings)
        layers = (bottom, *pieces.layers, top)
        store = Store(settings.home)
        root = RootFilesystem(tuple(store.tree(layer) for layer in layers))
        env = {**activation_variables(packages, root, settings, log), **dict(variables)}
        image = make_image(
            layers,
            lock.platform,
            _created(packages),
            env,
            {"dev.envbuild.environment": identity, "dev.envbuild.lock": lock_digest(lock), **labels},
        )
        store.add(image)
        for layer in layers:
            log.log("image", f"{layer.diff_id}  {layer.size:>12}  {layer.title}")
    log.log("image", f"manifest {image.digest}, config {image.config_digest}")
    return Build(identity, ingredients, image, len(packages), pieces.packed)


def _log_plan(plan: Plan, log: BuildLog) -> None:
    for note in plan.notes:
        log.log("plan", note)
    for layer in plan.layers:
        names = ", ".join(package.locked.filename for package in layer.packages)
        log.log("plan", f"layer {layer.title}: {names}")


def _created(packages: Sequence[Package]) -> int:
    """The image's time: SOURCE_DATE_EPOCH (reproducible-builds.org), else the newest package's."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdecimal():
        return int(epoch)
    return max((package.timestamp for package in packages), default=0)


def _environment_layer(packages: Sequence[Package], identity: str, settings: Settings) -> Layer:
    """The layer that only this environment has: `conda-meta`."""
    trees = settings.home / "trees"
    python = find_python(packages)
    records = {
        _meta_name(package): _meta(package, files_of(trees / piece_key(package, python)[:NAME_LENGTH]))
        for package in packages
        if package.locked.manager == "conda"
    }
    text = json.dumps(records, sort_keys=True)
    name = hashlib.sha256(f"{identity}\n{text}".encode()).hexdigest()[:NAME_LENGTH]
    with atomic.key_lock(trees, name):
        if not (trees / name).is_dir():
            with atomic.new_folder(trees / name) as tree:
                _write_meta(tree, records)
    diff_id, size = layer_digest(trees, name)
    return Layer(diff_id, size, name, "environment", ())


def _write_meta(tree: Path, records: Mapping[str, Mapping[str, object]]) -> None:
    folder = tree
    folder.chmod(0o755)
    for part in (*PREFIX.strip("/").split("/"), "conda-meta"):
        folder = folder / part
        folder.mkdir()
        folder.chmod(0o755)
    contents = {name: json.dumps(record, sort_keys=True, indent=1) + "\n" for name, record in records.items()}
    for name, content in {**contents, "history": ""}.items():
        file = folder / name
        file.write_text(content, encoding="utf-8")
        file.chmod(0o644)
        os.utime(file, (_META_TIME, _META_TIME))


def _meta_name(package: Package) -> str:
    locked = package.locked
    return f"{locked.name}-{locked.version}-{locked.build}.json"


def _meta(package: Package, files: Sequence[str]) -> dict[str, object]:
    """A `conda-meta` record (conda's documentation, "conda-meta"); no path of the building machine enters it."""
    locked = package.locked
    return {
        "name": locked.name,
        "version": locked.version,
        "build": locked.build,
        "build_number": package.build_number,
        "channel": _public(locked.url.rsplit("/", 2)[0]),
        "subdir": locked.subdir,
        "fn": locked.filename,
        "url": _public(locked.url),
        "sha256": locked.sha256,
        "md5": locked.md5,
        "depends": list(package.depends),
        "license": package.license,
        "timestamp": package.timestamp * 1000,
        "files": list(files),
    }


def _public(url: str) -> str:
    """`url` without the folders of the building machine: of a `file://` channel only its own name stays."""
    if not url.startswith("file://"):
        return url
    parts = url.removeprefix("file://").split("/")
    return "/".join(parts[-3:] if parts[-1].endswith((".conda", ".tar.bz2")) else parts[-1:])
