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

from envbuild.errors import BaseError, PlanError
from envbuild.settings import Settings

from . import atomic
from .bases.base import Base
from .image import Image, Layer, make_image
from .lock import Lock, lock_digest
from .log import BuildLog
from .packing.activation import ACTIVATION_SCRIPTS, activation_variables
from .packing.link_scripts import run_link_scripts
from .packing.pack import PACKER_VERSION, adapts_to_python, files_of, piece_key
from .packing.package import Package, read_package
from .packing.pieces import NAME_LENGTH, build_layers, find_python, layer_digest
from .plan import PREFIX, Plan, environment_id, plan_layers
from .platforms import can_execute
from .rebuild import fetch_or_build
from .sandbox.command import RootFilesystem
from .store import Store

LEFT_OUT = "dev.envbuild.left-out"
"""The label and annotation of an image that lacks what only its own platform could have made."""

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
    created: int
    """The image's time, in seconds since 1970."""
    licenses: Mapping[str, str]
    """sha256 (hex) of each package -> its licence, as it states it."""


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
    if base.trees[0].stat().st_uid != os.geteuid():
        raise BaseError(f"{base.trees[0]} belongs to another user; set ENVBUILD_HOME to a folder of your own")
    identity, ingredients = identify(lock, variables, base, settings)
    log.log("plan", f"environment {identity}, base {base.name}:{base.version} {base.identity}")
    with log.stage("fetch"):
        files = fetch_or_build(lock, base, settings, log)
    with log.stage("plan"):
        packages = [read_package(package, files[package.sha256]) for package in lock.packages]
        plan = plan_layers(packages, len(base.layers), allowed_scripts=settings.allow_scripts)
        _refuse_foreign_scripts(packages, lock.platform)
        _log_plan(plan, log)
    with log.stage("pack"):
        pieces = build_layers(plan, base, settings, log)
    with log.stage("image"):
        below = (*base.layers, *pieces.layers)
        store = Store(settings.home)
        top = _environment_layer(packages, identity, settings)
        layers = (*below, *_script_layer(packages, below, identity, store, settings, log), top)
        root = RootFilesystem(tuple(store.tree(layer) for layer in layers))
        left_out = _left_out(packages, lock.platform)
        if left_out:
            log.say(f"{lock.platform} cannot be executed here, so its image is without {left_out}")
            labels = {**labels, LEFT_OUT: left_out}
        activated = {} if left_out else activation_variables(packages, root, settings, log)
        env = {**activated, **dict(variables)}
        image = make_image(
            layers,
            lock.platform,
            _created(packages),
            env,
            {
                "dev.envbuild.environment": identity,
                "dev.envbuild.lock": lock_digest(lock),
                **_marks(packages),
                **labels,
            },
            base.env,
        )
        store.add(image)
        for layer in layers:
            log.log("image", f"{layer.diff_id}  {layer.size:>12}  {layer.title}")
    log.log("image", f"manifest {image.digest}, config {image.config_digest}")
    licenses = {package.locked.sha256: package.license for package in packages}
    return Build(identity, ingredients, image, len(packages), pieces.packed, _created(packages), licenses)


def identify(
    lock: Lock, variables: Sequence[tuple[str, str]], base: Base, settings: Settings
) -> tuple[str, dict[str, object]]:
    """The environment id that `build` would give, and what it is made of."""
    return environment_id(lock, base.identity, variables, PACKER_VERSION, settings.allow_scripts)


def _refuse_foreign_scripts(packages: Sequence[Package], platform: str) -> None:
    names = sorted(package.locked.name for package in packages if package.link_scripts)
    if names and not can_execute(platform):
        raise PlanError(
            f"the scripts of {', '.join(names)} are programs of {platform}, which this machine cannot execute; "
            "register on such a machine, or leave them out"
        )


def _left_out(packages: Sequence[Package], platform: str) -> str:
    """What of an image needs programs of its own to run, when they cannot: a few words, empty for nothing."""
    if can_execute(platform):
        return ""
    parts = []
    if any(adapts_to_python(package) for package in packages):
        parts.append("compiled Python files (.pyc)")
    if any(path.path.startswith(ACTIVATION_SCRIPTS) for package in packages for path in package.paths):
        parts.append("the variables that activation scripts would set")
    return " and ".join(parts)


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


def _script_layer(
    packages: Sequence[Package], below: Sequence[Layer], identity: str, store: Store, settings: Settings, log: BuildLog
) -> tuple[Layer, ...]:
    """The layer with what allowed link scripts made; none when no package has any."""
    names = [package.locked.name for package in packages if package.link_scripts]
    if not names:
        return ()
    name = hashlib.sha256(f"{identity}\nscripts".encode()).hexdigest()[:NAME_LENGTH]
    with atomic.key_lock(store.trees, name):
        if not (store.trees / name).is_dir():
            root = RootFilesystem(tuple(store.tree(layer) for layer in below))
            with atomic.new_folder(store.trees / name) as tree:
                run_link_scripts(packages, root, settings, log, tree)
    diff_id, size = layer_digest(store.trees, name)
    return (Layer(diff_id, size, name, f"link scripts of {', '.join(sorted(names))}", ()),)


def _marks(packages: Sequence[Package]) -> dict[str, str]:
    """Labels of an image that cannot be promised to come out the same again."""
    scripts = sorted(package.locked.name for package in packages if package.link_scripts)
    built = sorted(package.locked.name for package in packages if package.locked.built)
    marks = {"dev.envbuild.link-scripts": " ".join(scripts), "dev.envbuild.built-from-source": " ".join(built)}
    found = {name: value for name, value in marks.items() if value}
    return {"dev.envbuild.reproducible": "false", **found} if found else {}


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
