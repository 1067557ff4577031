"""Bases from registries: `[bases] NAME = { image = "registry/repo@sha256:...", platform = "linux-64" }`.

    bases/NAME/VERSION/image.json   what the name meant: digests, diffIDs, variables

A tag is asked for once; from then on the recorded digest counts, until `envbuild base update NAME` moves it (a new
version of the base). The layers are kept twice: unpacked for runs, and as the blobs they came as, so that an image on
top of them can travel on without changing a byte below.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from envbuild.errors import BaseError, InputError, NotFound, RegistryError
from envbuild.images.catalog import LINUX_64
from envbuild.settings import BaseImage, Settings

from .. import atomic
from ..distribution.connection import Connection
from ..distribution.memory import Memory
from ..distribution.reference import Reference, parse_reference
from ..distribution.repository import Repository
from ..image import Layer
from ..layers.trees import add_foreign_tree, find_foreign_tree
from ..pull import RemoteImage, find_image, pulled
from ..report import Reporter
from ..store import Store
from .base import Base, BaseRow, BaseUpdate

_FILE = "image.json"
_GREATEST_RATIO = 200
"""How much larger than its blob a layer may unpack; one of text gets to 20, a bomb beyond 1000."""
_SMALL = 1 << 30
"""Bytes that a layer may always have."""


@dataclass(frozen=True)
class _Pin:
    """What a name was found to mean."""

    image: str
    """As envbuild.toml has it."""
    platform: str
    digest: str
    """What the tag or digest names: of an index, where there is one."""
    manifest: str
    config: str
    diff_ids: tuple[str, ...]
    sizes: tuple[int, ...]
    """Bytes of the blobs."""
    env: Mapping[str, str]
    resolved: str
    version: int = 0


def ensure_registry_base(
    name: str, settings: Settings, reporter: Reporter, platform: str, version: int | None = None
) -> Base:
    """The base `name` of `settings.bases` for `platform` (as it is now, or `version`), pulled if it is not here.

    Raises:
        RegistryError: the registry fails, has no such image, or none for the platform.
        LayerError: a layer is not what it says, or holds something refused.
        InputError: the reference cannot be understood.
    """
    wanted = _wanted(name, settings, platform)
    with atomic.key_lock(settings.home / "bases", name):
        pin = _pin(name, wanted, settings, reporter) if version is None else _pinned(name, version, settings)
        known = _known(name, pin, settings)
        return known if known is not None else _pull(name, pin, wanted, settings, reporter)


def registry_base_key(name: str, settings: Settings, reporter: Reporter, platform: str) -> str:
    """The digest of the config: it covers the layers and the variables.

    Raises:
        RegistryError, InputError: as `ensure_registry_base`.
    """
    with atomic.key_lock(settings.home / "bases", name):
        return _pin(name, _wanted(name, settings, platform), settings, reporter).config


def update_registry_base(
    name: str, settings: Settings, reporter: Reporter, platform: str, *, dry_run: bool
) -> BaseUpdate:
    """Ask again what the base's tag means, and say what is different.

    Raises:
        RegistryError, InputError: as `ensure_registry_base`.
    """
    wanted = _wanted(name, settings, settings.bases[name].platform or platform)
    with atomic.key_lock(settings.home / "bases", name):
        before = _newest_pin(name, wanted, settings)
        if before is not None and parse_reference(wanted.image).digest:
            reporter.say(f"{name} is pinned by a digest in envbuild.toml; write another there to change it")
            return BaseUpdate(before.version, ())
        now = _resolve(wanted, _repository(wanted))
        changes = _changes(before, now)
        if before is not None and not changes:
            return BaseUpdate(before.version, ())
        number = _next_version(name, settings) if dry_run else _write(name, now, settings).version
        return BaseUpdate(number, changes)


def registry_base_row(name: str, settings: Settings) -> BaseRow:
    """What `envbuild base list` shows of it; no registry is asked."""
    wanted = _wanted(name, settings, settings.bases[name].platform or LINUX_64)
    pin = _newest_pin(name, wanted, settings)
    if pin is None:
        return BaseRow(name, 0, f"{wanted.image} ({wanted.platform}), not asked for yet", 0, False)
    text = wanted.image if pin.digest in wanted.image else f"{wanted.image} = {pin.digest[:19]}"
    return BaseRow(name, pin.version, f"{text} ({wanted.platform})", 0, _known(name, pin, settings) is not None)


def show_registry_base(name: str, settings: Settings) -> dict[str, object]:
    """Everything that is recorded of it; no registry is asked."""
    wanted = _wanted(name, settings, settings.bases[name].platform or LINUX_64)
    pin = _newest_pin(name, wanted, settings)
    if pin is None:
        return {"name": name, "version": 0, "image": wanted.image, "platform": wanted.platform, "built": False}
    known = _known(name, pin, settings)
    layers: list[dict[str, object]] = [
        {"diff_id": diff_id, "travels": size} for diff_id, size in zip(pin.diff_ids, pin.sizes, strict=True)
    ]
    return {"name": name, **asdict(pin), "built": known is not None, "layers": layers}


def _wanted(name: str, settings: Settings, platform: str) -> BaseImage:
    """What envbuild.toml asks for, with its platform.

    Raises:
        InputError: it is for another platform.
    """
    wanted = settings.bases[name]
    if wanted.platform not in ("", platform):
        raise InputError(f"the base {name} is for {wanted.platform}, not for {platform}; see [bases] in envbuild.toml")
    return replace(wanted, platform=platform)


def _pin(name: str, wanted: BaseImage, settings: Settings, reporter: Reporter) -> _Pin:
    """What the name means: as recorded, or asked for now."""
    pin = _newest_pin(name, wanted, settings)
    if pin is None:
        pin = _write(name, _resolve(wanted, _repository(wanted)), settings)
        reporter.say(f"{name}:{pin.version} is {wanted.image} as of now: {pin.digest}")
    return pin


def _repository(wanted: BaseImage) -> Repository:
    reference = parse_reference(wanted.image)
    connection = Connection(reference.registry, reference.repository, insecure=wanted.insecure)
    return Repository(connection, reference.repository)


def _resolve(wanted: BaseImage, repository: Repository) -> _Pin:
    reference = parse_reference(wanted.image)
    if not reference.tag and not reference.digest:
        raise InputError(f"the base image {wanted.image!r} has neither tag nor digest; add :TAG or @sha256:...")
    image = _find(reference, wanted.platform, repository)
    return _Pin(
        image=wanted.image,
        platform=wanted.platform,
        digest=image.top,
        manifest=image.manifest.digest,
        config=image.config_digest,
        diff_ids=image.diff_ids,
        sizes=tuple(blob.size for blob in image.blobs),
        env=image.env,
        resolved=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def _find(reference: Reference, platform: str, repository: Repository) -> RemoteImage:
    image = find_image(repository, reference, platform)
    if image is None:
        raise RegistryError(f"{reference} is not in the registry; check the name, or ask who pushed it", status=404)
    return image


def _pull(name: str, pin: _Pin, wanted: BaseImage, settings: Settings, reporter: Reporter) -> Base:
    repository = _repository(wanted)
    place = parse_reference(wanted.image)
    image = _find(Reference(place.registry, place.repository, digest=pin.digest), pin.platform, repository)
    if image.diff_ids != pin.diff_ids:
        raise RegistryError(f"{pin.digest} of {place.place} is another image now; run envbuild base update {name}")
    store = Store(settings.home)
    reporter.say(f"pulling the base {name}:{pin.version}, {len(image.blobs)} layers")
    with (
        pulled((image,), set(pin.diff_ids), set(pin.diff_ids), repository, store, reporter) as open_layer,
        reporter.task("unpack", sum(pin.sizes)) as task,
    ):
        for diff_id, blob in zip(image.diff_ids, image.blobs, strict=True):
            most = max(blob.size * _GREATEST_RATIO, _SMALL)
            add_foreign_tree(settings.home, diff_id, most, open_layer)
            task.advance(blob.size)
    Memory(settings.home, place.registry).seen(place.repository, [blob.digest for blob in image.blobs])
    known = _known(name, pin, settings)
    if known is None:
        raise BaseError(f"the layers of {name}:{pin.version} went away while it was pulled; try again")
    return known


def _known(name: str, pin: _Pin, settings: Settings) -> Base | None:
    """The base when all its layers are here."""
    layers = []
    for number, diff_id in enumerate(pin.diff_ids, 1):
        found = find_foreign_tree(settings.home, diff_id)
        if found is None:
            return None
        tree, size, blob = found
        layers.append(Layer(diff_id, size, tree, f"base {name}:{pin.version}, layer {number}", (), blob))
    trees = tuple(settings.home / "trees" / layer.tree for layer in layers)
    return Base(name, pin.version, tuple(layers), trees, 0, pin.env)


def _changes(before: _Pin | None, now: _Pin) -> tuple[str, ...]:
    if before is None:
        return (f"{now.image} is {now.digest}",)
    if before.digest == now.digest:
        return ()
    new = [size for diff_id, size in zip(now.diff_ids, now.sizes, strict=True) if diff_id not in before.diff_ids]
    lines = [
        f"digest  {before.digest} -> {now.digest}",
        f"layers  {len(before.diff_ids)} -> {len(now.diff_ids)}, {len(new)} of them new ({sum(new)} bytes to pull)",
    ]
    for variable in sorted({*before.env, *now.env}):
        old, new_value = before.env.get(variable, "(unset)"), now.env.get(variable, "(unset)")
        if old != new_value:
            lines.append(f"{variable}  {old} -> {new_value}")
    return tuple(lines)


def _newest_pin(name: str, wanted: BaseImage, settings: Settings) -> _Pin | None:
    """The newest record that was made of this very reference and platform."""
    for version in reversed(_versions(name, settings)):
        pin = _read(name, version, settings)
        if pin is not None and (pin.image, pin.platform) == (wanted.image, wanted.platform):
            return pin
    return None


def _pinned(name: str, version: int, settings: Settings) -> _Pin:
    pin = _read(name, version, settings)
    if pin is None:
        raise NotFound(f"the base {name}:{version} is not recorded here")
    return pin


def _read(name: str, version: int, settings: Settings) -> _Pin | None:
    try:
        document: dict[str, Any] = json.loads((settings.home / "bases" / name / str(version) / _FILE).read_bytes())
        diff_ids, sizes = tuple(document.pop("diff_ids")), tuple(document.pop("sizes"))
        return _Pin(**document, diff_ids=diff_ids, sizes=sizes, version=version)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(name: str, pin: _Pin, settings: Settings) -> _Pin:
    version = _next_version(name, settings)
    document = {key: value for key, value in asdict(pin).items() if key != "version"}
    file = settings.home / "bases" / name / str(version) / _FILE
    atomic.write_file(file, json.dumps(document, indent=1, sort_keys=True).encode(), durable=True)
    written = _read(name, version, settings)
    if written is None:
        raise BaseError(f"{file} cannot be read back; remove it and try again")
    return written


def _next_version(name: str, settings: Settings) -> int:
    return max(_versions(name, settings), default=0) + 1


def _versions(name: str, settings: Settings) -> list[int]:
    folder = settings.home / "bases" / name
    return sorted(int(each.name) for each in folder.glob("*") if each.name.isdecimal() and (each / _FILE).is_file())
