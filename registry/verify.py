"""A registered version in, whether it can be made again bit for bit out: built anew beside it, every digest compared.

The build happens in an empty home of its own. Only downloads are taken from the real one, each after its sha256 was
seen to be right. Compared are three things: what the record says, what the new build gives, and what lies on the disk;
where a layer differs, its trees are compared entry by entry, so that the file is named.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envbuild.builder import atomic
from envbuild.builder.bases.base import base_recipe
from envbuild.builder.build import Build
from envbuild.builder.file_digest import sha256_of
from envbuild.builder.home_lock import sharing
from envbuild.builder.image import Layer
from envbuild.builder.layers.layer import tree_digest
from envbuild.builder.layers.tree_difference import tree_differences
from envbuild.builder.lock import read_locks
from envbuild.builder.log import FILE_NAME as LOG_NAME
from envbuild.builder.log import BuildLog
from envbuild.builder.report import Reporter
from envbuild.builder.store import Store
from envbuild.errors import StoreError
from envbuild.settings import Settings

from .environments import Environment, image_layers
from .rebuild import build_again

_MOST_FILES = 20
"""Lines about one layer; a tree that is altogether different needs no more."""


@dataclass(frozen=True)
class Verification:
    """What `verify` found."""

    environment: Environment
    layers: int
    """How many were compared."""
    findings: tuple[str, ...]
    """What is not as it should be; empty when all is well."""


def verify(environment: Environment, settings: Settings, reporter: Reporter) -> Verification:
    """Build `environment` again in a clean home and compare every digest and file.

    Raises:
        EnvbuildError: it cannot be built at all, as the stages of a build say.
    """
    with sharing(settings.home, reporter), atomic.scratch_folder(settings.home / "scratch") as folder:
        clean = replace(settings, home=folder / "home")
        log = BuildLog(folder / LOG_NAME, reporter)
        try:
            _take_downloads(environment, settings, clean)
            builds = build_again(environment, clean, log)
        finally:
            log.close()
        images: Mapping[str, Any] = environment.record.get(
            "images", {environment.record["platform"]: environment.record["image"]}
        )
        findings = [
            finding
            for platform, recorded in images.items()
            for finding in _compare(recorded, builds[platform], settings, clean)
        ]
    if len(images) > 1:
        findings = list(dict.fromkeys(findings))
    return Verification(environment, sum(len(image["layers"]) for image in images.values()), tuple(findings))


def _take_downloads(environment: Environment, settings: Settings, clean: Settings) -> None:
    """Give the clean home what need not be downloaded again: packages, a base's blobs, and the pins of the base."""
    record = environment.record
    platforms = tuple(record.get("images", {record["platform"]: None}))
    wanted = {package.sha256 for lock in read_locks(environment.lock_file, platforms) for package in lock.packages}
    base = record["base"]
    for platform in platforms:
        recipe = base_recipe(base["name"], base["version"], settings, platform)
        wanted |= {package.sha256 for package in recipe.packages} if recipe else set()
    for sha256 in sorted(wanted):
        for file in _files(settings.home / "packages" / sha256):
            if sha256_of(file) == sha256:
                _link(file, clean.home / "packages" / sha256 / file.name)
    for layer in environment.all_layers:
        if layer.blob:
            kept = Store(settings.home).blob_file(layer.blob.digest)
            if kept.is_file() and f"sha256:{sha256_of(kept)}" == layer.blob.digest:
                _link(kept, Store(clean.home).blob_file(layer.blob.digest))
    for pins in (settings.home / "bases").glob(f"{base['name']}*/{base['version']}/*"):
        if pins.name in ("pins.toml", "image.json"):
            _link(pins, clean.home / pins.relative_to(settings.home))


def _files(folder: Path) -> Iterable[Path]:
    return [entry for entry in folder.glob("*") if entry.is_file() and entry.suffix != ".part"]


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:  # a blob that several layers are
        return
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _compare(recorded: Mapping[str, Any], built: Build, settings: Settings, clean: Settings) -> list[str]:
    """What differs between the record, the new build and the disk."""
    layers = image_layers(recorded)
    findings = []
    if len(layers) != len(built.image.layers):
        findings.append(f"the record has {len(layers)} layers, the build gives {len(built.image.layers)}")
    for old, new in zip(layers, built.image.layers, strict=False):
        findings += _compare_layer(old, new, settings, clean)
    findings += _compare_config(recorded, built, Store(settings.home))
    if recorded["digest"] != built.image.digest:
        findings.append(f"the manifest is registered as {recorded['digest']}, the build gives {built.image.digest}")
    return findings


def _compare_layer(old: Layer, new: Layer, settings: Settings, clean: Settings) -> list[str]:
    tree, made = settings.home / "trees" / old.tree, clean.home / "trees" / new.tree
    findings = []
    if old.diff_id != new.diff_id:
        findings.append(f"layer {old.title}: registered as {old.diff_id}, the build gives {new.diff_id}")
    if not tree.is_dir():
        return findings  # collected: there is nothing that could be damaged
    if (
        old.blob is not None
    ):  # written by others: its tree does not give its bytes, so files are all there is to compare
        is_whole = not tree_differences(made, tree)
    else:
        is_whole = tree_digest(tree)[0] == new.diff_id
    if not is_whole:
        lines = tree_differences(made, tree)
        findings.append(f"layer {old.title}: {tree} is not what the build gives:")
        findings += [f"  {line}" for line in lines[:_MOST_FILES]]
        if len(lines) > _MOST_FILES:
            findings.append(f"  and {len(lines) - _MOST_FILES} more paths")
    return findings


def _compare_config(recorded: Mapping[str, Any], built: Build, store: Store) -> list[str]:
    findings = []
    if recorded["config_digest"] != built.image.config_digest:
        findings.append(f"the config is registered as {recorded['config_digest']}, the build gives another one:")
    for what, name in (("config", recorded["config_digest"]), ("manifest", recorded["digest"])):
        try:
            kept = store.blob(name)
        except StoreError as error:
            findings.append(f"the {what} in the store: {error}")
            continue
        if what == "config" and name != built.image.config_digest:
            findings += [f"  {line}" for line in _json_differences(json.loads(kept), json.loads(built.image.config))]
    return findings


def _json_differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Where two JSON documents differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted({*old, *new})
            for line in _json_differences(old.get(key), new.get(key), f"{place}.{key}" if place else key)
        ]
    return [] if old == new else [f"{place}: registered as {json.dumps(old)[:200]}, built as {json.dumps(new)[:200]}"]
