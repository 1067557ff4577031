"""Registered environments: immutable, numbered per name, in plain files that can be read without us.

environments/NAME/VERSION/   spec.yml  conda-lock.yml  environment.json  20_image_build_log.txt

A number is never given twice, also after its version was removed: what recorded `NAME:3` means that one for ever.
"""

import contextlib
import difflib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from envbuild.builder import atomic
from envbuild.builder.image import Blob, Image, Layer
from envbuild.builder.log import FILE_NAME as LOG_NAME
from envbuild.builder.sandbox.command import RootFilesystem
from envbuild.builder.store import Store
from envbuild.errors import InputError, NotFound, StoreError

from .index import RECORD, environment_names, list_versions, versions_of
from .tags import LATEST, note_event, read_events, read_tags, write_tags

LOCK = "conda-lock.yml"

_DIGEST = re.compile(r"sha256:[0-9a-f]{12,64}")
_NAME = re.compile(r"[a-zA-Z0-9][\w.-]{0,127}")


@dataclass(frozen=True)
class Environment:
    """One version of a registered environment."""

    name: str
    version: int
    folder: Path
    record: Mapping[str, Any]
    """The content of `environment.json`."""

    @property
    def reference(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def environment_id(self) -> str:
        return str(self.record["environment_id"])

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The image's layers, lowest first; of the first platform, where there are several."""
        return image_layers(self.record["image"])

    @property
    def all_layers(self) -> tuple[Layer, ...]:
        """The layers of the images of all platforms, each once."""
        images = self.record.get("images", {"": self.record["image"]}).values()
        return tuple(dict.fromkeys(layer for image in images for layer in image_layers(image)))

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platforms that it has images for."""
        return tuple(self.record.get("images", {self.record["platform"]: self.record["image"]}))

    def layers_of(self, platform: str) -> tuple[Layer, ...]:
        """The layers of the image of `platform`, the lowest first."""
        return image_layers(self.record.get("images", {}).get(platform, self.record["image"]))

    def ingredients_of(self, platform: str) -> Mapping[str, Any]:
        """What the environment id of `platform` is made of."""
        found: Mapping[str, Any] = self.record.get("all_ingredients", {}).get(platform, self.record["ingredients"])
        return found

    @property
    def lock_file(self) -> Path:
        return self.folder / LOCK

    @property
    def build_log(self) -> Path:
        return self.folder / LOG_NAME

    def image(self, store: Store) -> Image:
        """The image's documents.

        Raises:
            StoreError: the store has lost them.
        """
        return _image(self.record["image"], store)

    def all_images(self, store: Store) -> tuple[Image, ...]:
        """The images of all platforms, the first one's first.

        Raises:
            StoreError: the store has lost one.
        """
        images = self.record.get("images", {"": self.record["image"]})
        return tuple(
            _image(each, store) for each in sorted(images.values(), key=lambda each: each != self.record["image"])
        )

    def root(self, store: Store) -> RootFilesystem:
        """The trees that make the environment's root file system.

        Raises:
            StoreError: a layer is gone.
        """
        return RootFilesystem(tuple(store.tree(layer) for layer in self.layers))


def image_layers(image: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The layers of an image as `environment.json` describes it, the lowest first."""
    return tuple(
        Layer(
            each["diff_id"],
            each["size"],
            each["tree"],
            each["title"],
            tuple(each["packages"]),
            Blob(**each["blob"]) if "blob" in each else None,
        )
        for each in image["layers"]
    )


def _image(image: Mapping[str, Any], store: Store) -> Image:
    return Image(store.blob(image["config_digest"]), store.blob(image["digest"]), image_layers(image))


def image_record(image: Image) -> dict[str, Any]:
    """How `environment.json` describes an image."""
    return {
        "digest": image.digest,
        "config_digest": image.config_digest,
        "layers": [
            {
                "diff_id": layer.diff_id,
                "size": layer.size,
                "tree": layer.tree,
                "title": layer.title,
                "packages": list(layer.packages),
                **({"blob": asdict(layer.blob)} if layer.blob else {}),
            }
            for layer in image.layers
        ],
    }


def add_version(
    home: Path, name: str, record: Mapping[str, Any], files: Mapping[str, Path], *, wish: int | None = None
) -> tuple[Environment, bool]:
    """Register the next version of `name`, or the version `wish` where that number is free; and whether it is new.

    The same content never makes a second version, whoever registers it at the same moment: the version that is there
    is returned. `files` are copied into the version's folder under their keys.

    Raises:
        InputError: `name` cannot be a name.
    """
    check_name(name)
    folder = home / "environments" / name
    with atomic.key_lock(home / "environments", name):
        atomic.sweep(folder)
        known = find_version(home, name, record["environment_id"], record["image"]["digest"])
        if known is not None:
            return known, False
        version = _next_number(home, name, record, wish)
        whole = {"name": name, "version": version, **record}
        with atomic.new_folder(folder / str(version)) as target:
            for file_name, source in files.items():
                shutil.copyfile(source, target / file_name)
            (target / RECORD).write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")
    return Environment(name, version, folder / str(version), whole), True


def load(home: Path, reference: str) -> Environment:
    """The environment that `reference` names: `NAME` or `NAME:latest` (its newest version), `NAME:VERSION`,
    `NAME:TAG`, or `NAME@sha256:...` (the digest of its image, or 12 and more digits of it).

    Raises:
        NotFound: there is none; the message lists what there is.
        StoreError: its record is damaged.
    """
    name, at, digest = reference.partition("@")
    name, colon, wanted = (name, "", "") if at else reference.partition(":")
    check_name(name)
    known = versions_of(home, name)
    if not known:
        raise not_registered(home, name)
    if at:
        return _read(home, name, _with_digest(home, name, digest))
    return _read(home, name, _version_named(home, name, wanted, known) if colon else known[-1])


def remove_version(home: Path, name: str, version: int) -> tuple[str, ...]:
    """Remove one version and the tags that point at it, which are returned; a name with none left is gone, but for its
    history: that keeps what the version was."""
    with atomic.key_lock(home / "environments", name):
        was = [each for each in list_versions(home, name).entries if each.version == version]
        known = {"digest": was[0].digest, "registered": was[0].registered, "reason": was[0].reason} if was else {}
        tags = read_tags(home, name)
        gone = tuple(sorted(tag for tag, number in tags.items() if number == version))
        note_event(home, name, "removed", version=version, tags=gone, **known)
        write_tags(home, name, {tag: number for tag, number in tags.items() if number != version})
        atomic.discard(home / "environments" / name / str(version))
    return gone


def touch(environment: Environment) -> None:
    """Note that `environment` is used now: the time of its folder, by which `gc --older-than` goes."""
    with contextlib.suppress(OSError):  # somebody else's home can be used, too
        os.utime(environment.folder)


def last_used(environment: Environment) -> float:
    """When `environment` was last registered, run or exported, in seconds since 1970."""
    return environment.folder.stat().st_mtime


def list_environments(home: Path) -> list[Environment]:
    """Every version of every environment that can be read, by name and version, with its whole record."""
    return [_read(home, entry.name, entry.version) for entry in list_versions(home).entries]


def find_version(home: Path, name: str, environment_id: str, digest: str | None = None) -> Environment | None:
    """The newest version of `name` that is the environment `environment_id` (and, given `digest`, that image)."""
    found = [
        each
        for each in list_versions(home, name).entries
        if each.environment_id == environment_id and digest in (None, each.digest)
    ]
    return _read(home, name, found[-1].version) if found else None


def newest_version(home: Path, name: str) -> Environment | None:
    """The newest version of `name` that can be read."""
    found = list_versions(home, name).entries
    return _read(home, name, found[-1].version) if found else None


def find_lock(home: Path, spec_key: str) -> Path | None:
    """The lock of any environment that was registered from the same request."""
    for entry in reversed(list_versions(home).entries):
        lock = home / "environments" / entry.name / str(entry.version) / LOCK
        if entry.spec_key == spec_key and lock.is_file():
            return lock
    return None


def not_registered(home: Path, name: str) -> NotFound:
    """The error for a name that nothing is registered under; it says which names there are."""
    known = environment_names(home)
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    if not known:
        hint = "none is registered yet: envbuild register environment.yml"
    return NotFound(f"no environment is named {name!r}; {hint}")


def check_name(name: str) -> str:
    """Return `name` when it can name an environment.

    Raises:
        InputError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name an environment: use letters, digits, '.', '-' and '_', at most 128, "
            "and begin with a letter or digit"
        )
    return name


def _next_number(home: Path, name: str, record: Mapping[str, Any], wish: int | None) -> int:
    known = versions_of(home, name)
    removed = {
        int(each["version"]): each.get("digest") for each in read_events(home, name) if each["event"] == "removed"
    }
    if wish and wish not in known and removed.get(wish, record["image"]["digest"]) == record["image"]["digest"]:
        return wish
    return max((*known, *removed), default=0) + 1


def _version_named(home: Path, name: str, wanted: str, known: Sequence[int]) -> int:
    """The version that a number or a tag means."""
    if wanted == LATEST:
        return known[-1]
    tags = read_tags(home, name)
    is_number = wanted.isdecimal() and wanted == str(int(wanted))
    version = int(wanted) if is_number else tags.get(wanted, 0)
    if version not in known:
        shown = ", ".join(str(each) for each in known) + (f"; tags: {', '.join(sorted(tags))}" if tags else "")
        raise NotFound(f"{name} has no version or tag {wanted!r}; it has {shown}")
    return version


def _with_digest(home: Path, name: str, digest: str) -> int:
    if not _DIGEST.fullmatch(digest):
        raise InputError(f"{name}@{digest} names no image; write {name}@sha256: and at least 12 hexadecimal digits")
    found = {each.digest: each.version for each in list_versions(home, name).entries if each.digest.startswith(digest)}
    if len(found) != 1:
        what = "no version" if not found else "more than one version"
        raise NotFound(f"{name} has {what} whose image is {digest}; see envbuild env history {name}")
    return next(iter(found.values()))


def _read(home: Path, name: str, version: int) -> Environment:
    folder = home / "environments" / name / str(version)
    try:
        record = json.loads((folder / RECORD).read_bytes())
        return Environment(name, version, folder, {"environment_id": record["environment_id"], **record})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder / RECORD} cannot be read ({error}); remove {folder}") from None
