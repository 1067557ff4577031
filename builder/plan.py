"""Which packages go into which layer: a pure function of the lock and the base (layout version 1).

    base | the 48 largest packages, one layer each, biggest first | 16 bins by sha256(name) | environment

Large packages change rarely and are shared by many environments when they are layers of their own; a small package
always falls into the same bin, so adding one moves one bin and nothing else. Position counts when an image is pulled
again, so the order never depends on popularity or on the dependency graph (docs/layering.md has the figures).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envbuild.errors import PlanError

from .lock import Lock
from .packing.package import Package
from .platforms import can_execute

LAYOUT_VERSION = 1
SINGLES = 48
BINS = 16
MAX_LAYERS = 125
"""What Docker Engine loads (measured with 20.10: 126 are refused)."""
LARGE_PACKAGE = 8 * 10**9
"""Bytes; registries refuse larger layers."""
PREFIX = "/opt/env"


@dataclass(frozen=True)
class PlannedLayer:
    """The packages of one layer, sorted by name."""

    title: str
    packages: tuple[Package, ...]


@dataclass(frozen=True)
class Plan:
    """The layers above the base, lowest first; the environment's own last layer is not listed."""

    layers: tuple[PlannedLayer, ...]
    notes: tuple[str, ...] = ()


def environment_id(
    lock: Lock,
    base_diff_id: str,
    variables: Sequence[tuple[str, str]],
    packer_version: int,
    allowed_scripts: Sequence[str] = (),
) -> tuple[str, dict[str, object]]:
    """`sha256:<hex>` that answers "is this the same environment?", and the ingredients it was made of."""
    ingredients: dict[str, object] = {
        "packages": {f"{package.manager}:{package.name}": package.sha256 for package in lock.packages},
        "platform": lock.platform,
        "base": base_diff_id,
        "prefix": PREFIX,
        "variables": dict(variables),
        "layout_version": LAYOUT_VERSION,
        "packer_version": packer_version,
    }
    scripts = sorted({package.name for package in lock.packages} & set(allowed_scripts))
    if scripts:
        ingredients["allowed_scripts"] = scripts
    if not can_execute(lock.platform):
        ingredients["executed"] = False  # what had to be left out makes another image
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", ingredients


def joint_identity(identities: Sequence[str]) -> str:
    """The environment id of an environment of several platforms, out of theirs; of one platform its own."""
    if len(identities) == 1:
        return identities[0]
    return f"sha256:{hashlib.sha256(json.dumps(list(identities)).encode()).hexdigest()}"


def plan_layers(packages: Sequence[Package], base_layers: int = 1, allowed_scripts: Sequence[str] = ()) -> Plan:
    """Lay `packages` out; those named in `allowed_scripts` may run scripts at installation.

    Raises:
        PlanError: a package wants a script run at installation, a path lies below another package's link, one path
            is a file and a folder at once, or there are too many layers.
    """
    _refuse_link_scripts(packages, allowed_scripts)
    by_size = sorted(packages, key=lambda each: (-each.size, each.locked.name, each.locked.build, each.locked.manager))
    singles = by_size[:SINGLES]
    bins: dict[int, list[Package]] = {}
    for package in by_size[SINGLES:]:
        bins.setdefault(bin_of(package.locked.name), []).append(package)
    layers = [PlannedLayer(_title(package), (package,)) for package in singles] + [
        PlannedLayer(
            f"bin {number}", tuple(sorted(bins[number], key=lambda each: (each.locked.name, each.locked.manager)))
        )
        for number in sorted(bins)
    ]
    scripts = any(package.link_scripts for package in packages)
    total = base_layers + len(layers) + scripts + 1
    if total > MAX_LAYERS:
        raise PlanError(f"the image would have {total} layers, Docker Engine takes {MAX_LAYERS}; use a base with fewer")
    return Plan(tuple(layers), (*_size_notes(packages), *_collisions(layers)))


def bin_of(name: str) -> int:
    """The bin in which the small package `name` always lies."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") % BINS


def _title(package: Package) -> str:
    return f"{package.locked.name} {package.locked.version}"


def _refuse_link_scripts(packages: Sequence[Package], allowed: Sequence[str]) -> None:
    for package in packages:
        name = package.locked.name
        early = [script for script in package.link_scripts if script.endswith("-pre-link.sh")]
        if early:
            raise PlanError(
                f"package {package.locked.filename} wants to run {early[0]} before it is installed, which conda itself "
                "has given up; choose another build of it, or leave it out"
            )
        if package.link_scripts and name not in allowed:
            raise PlanError(
                f"package {package.locked.filename} wants to run {', '.join(package.link_scripts)} at installation; "
                "what that gives is not reproducible, so it is refused. Choose another build of it, leave it out, or "
                f"allow it: --allow-script {name}, or [build] allow-scripts in envbuild.toml"
            )


def _size_notes(packages: Sequence[Package]) -> list[str]:
    return [
        f"{package.locked.filename} is {package.size / 1e9:.1f} GB unpacked; many registries refuse such a layer"
        for package in packages
        if package.size > LARGE_PACKAGE
    ]


def _collisions(layers: Sequence[PlannedLayer]) -> list[str]:
    """Paths that two packages bring: the package in the upper layer (within a bin: the later name) wins."""
    owners: dict[str, Package] = {}
    links: dict[str, Package] = {}
    lost: dict[tuple[str, str], list[str]] = {}
    packages = [package for layer in layers for package in layer.packages]
    site_packages = next((f"lib/python{_minor(each)}/site-packages/" for each in packages if each.is_python), "")
    for package in packages:
        for path in package.paths:
            place = _place(path.path, package, site_packages)
            earlier = owners.get(place)
            if earlier is not None:
                lost.setdefault((_title(earlier), _title(package)), []).append(place)
            owners[place] = package
            if path.is_link:
                links[place] = package
    _refuse_paths_below_links(owners, links)
    return [
        f"{winner} and {loser} both bring {paths[0]}"
        + (f" and {len(paths) - 1} more paths" if len(paths) > 1 else "")
        + f"; {winner}'s stay"
        for (loser, winner), paths in sorted(lost.items())
    ]


def _minor(python: Package) -> str:
    return ".".join(python.locked.version.split(".")[:2])


def _place(path: str, package: Package, site_packages: str) -> str:
    """Where a path of a package will lie: noarch packages and wheels leave the folder of Python open."""
    if package.kind == "noarch-python":
        return path.replace("site-packages/", site_packages, 1) if path.startswith("site-packages/") else path
    return f"{site_packages}{path}" if package.kind == "wheel" else path


def _refuse_paths_below_links(owners: Mapping[str, Package], links: Mapping[str, Package]) -> None:
    """No path may lie below a path that is a file or a link: layers cannot be stacked to hold both."""
    for path, package in owners.items():
        parent = path.rpartition("/")[0]
        while parent:
            other = links.get(parent) or owners.get(parent)
            if other is not None:
                kind = "a link" if parent in links else "a file"
                raise PlanError(
                    f"{_title(package)} brings {path}, but {parent} is {kind} of {_title(other)}; "
                    "the two cannot be in one environment"
                )
            parent = parent.rpartition("/")[0]
