"""`environment.json` that came from elsewhere: nothing in it is believed that can be worked out.

The environment id must follow from the ingredients, the ingredients must be those of the lock, and each platform's
config and layers must give the image that the record names; of several platforms the index must follow from these.
"""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envbuild.builder.image import Blob, Image, Layer, describe_image, digest, make_index
from envbuild.builder.lock import read_locks
from envbuild.builder.plan import joint_identity
from envbuild.errors import EnvbuildError, LayerError

from .environments import LOCK
from .index import RECORD

_BASE = re.compile(r"\w[\w. +-]*")
"""The name of a base: it becomes part of paths."""


def read_record(files: Mapping[str, bytes]) -> dict[str, Any]:
    """The record among `files`, which fits itself and the lock beside it.

    Raises:
        LayerError: it does not.
    """
    if RECORD not in files:
        raise LayerError(f"the image came without its {RECORD}; it was not written by envbuild")
    try:
        record: dict[str, Any] = json.loads(files[RECORD])
        if not (isinstance(record["name"], str) and isinstance(record["version"], int) and record["version"] > 0):
            raise TypeError("no name or version")
        for key in ("environment_id", "spec_key", "lock_digest", "platform", "registered"):
            if not isinstance(record[key], str):
                raise TypeError(f"{key} is no text")
        _check_told(record)
        if not isinstance(record["image"]["digest"], str):
            raise TypeError("no image digest")
        if "images" in record and not isinstance(record["index"]["digest"], str):
            raise TypeError("no index digest")
        ingredients = _ingredients(record)
        if not all(isinstance(each["packages"], dict) for each in ingredients):
            raise TypeError("no packages")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(error) from None
    _check_identity(record, ingredients, files)
    return record


def _check_told(record: Mapping[str, Any]) -> None:
    """What nothing else follows from, but every later reader takes as it is.

    Raises:
        TypeError, KeyError: it is not what envbuild writes.
    """
    base = record["base"]
    if not (isinstance(base["name"], str) and _BASE.fullmatch(base["name"]) and isinstance(base["version"], int)):
        raise TypeError("no base")
    if not isinstance(record["packages"], int):
        raise TypeError("no number of packages")
    if not isinstance(record.get("spec_ingredients", {}), dict):
        raise TypeError("spec_ingredients is no table")
    dropped = record.get("dropped", {})
    if not (isinstance(dropped, dict) and all(isinstance(each, list) for each in dropped.values())):
        raise TypeError("dropped is no table of lists")


def platforms_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The platforms of a record, the first one's first: the order of its index and of its environment id."""
    first = str(record["platform"])
    return (first, *sorted({str(each) for each in record.get("images") or ()} - {first}))


def recorded_images(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """What a record says about the image of each of `platforms_of`.

    Raises:
        LayerError: there is no image for the platform.
    """
    try:
        if "images" not in record:
            return (record["image"],)
        images = tuple(record["images"][platform] for platform in platforms_of(record))
        if images[0] != record["image"]:
            raise ValueError("image is none of images")
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(error) from None
    return images


def foreign_layers(record: Mapping[str, Any]) -> set[str]:
    """The diffIDs of the layers that envbuild did not write.

    Raises:
        LayerError: the record lists no layers.
    """
    return {layer.diff_id for image in recorded_images(record) for layer in _layers(image) if layer.blob}


def check_images(record: Mapping[str, Any], configs: Sequence[bytes]) -> tuple[Image, ...]:
    """The images of `configs`, one for each of `platforms_of`; their trees have no names yet.

    Raises:
        LayerError: they are not the images, or give not the index, that the record names.
    """
    recorded = recorded_images(record)
    if len(recorded) != len(configs):
        platforms = ", ".join(platforms_of(record))
        raise LayerError(
            f"{record['name']} was registered for {platforms}, but {len(configs)} images came with it: push or export "
            "it again, which takes them all, or register its conda-lock.yml here instead"
        )
    images = tuple(
        describe_image(config, _layers(described)) for config, described in zip(configs, recorded, strict=True)
    )
    fits = [image.digest for image in images] == [each.get("digest") for each in recorded]
    if not fits or ("images" in record and digest(make_index(images)) != record["index"]["digest"]):
        raise LayerError(f"{RECORD} describes another image than the one that it came with; nothing was restored")
    return images


def _ingredients(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The ingredients of each of `platforms_of`."""
    if "images" not in record:
        return (record["ingredients"],)
    return tuple(record["all_ingredients"][platform] for platform in platforms_of(record))


def _check_identity(
    record: Mapping[str, Any], ingredients: Sequence[Mapping[str, Any]], files: Mapping[str, bytes]
) -> None:
    """The environment id follows from the ingredients, and the lock holds the packages that these name."""
    if record["environment_id"] != joint_identity([_identity(each) for each in ingredients]):
        raise LayerError(f"the environment id in {RECORD} does not follow from its ingredients; nothing was restored")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LOCK
        path.write_bytes(files.get(LOCK, b""))
        try:
            locks = read_locks(path, platforms_of(record))
        except EnvbuildError as error:
            raise LayerError(f"{LOCK} of the image cannot be read: {error}") from None
    for each, lock in zip(ingredients, locks, strict=True):
        if each["packages"] != {f"{one.manager}:{one.name}": one.sha256 for one in lock.packages}:
            raise LayerError(f"{LOCK} holds other packages than {RECORD} names; nothing was restored")


def _identity(ingredients: Mapping[str, Any]) -> str:
    return digest(json.dumps(ingredients, sort_keys=True, separators=(",", ":")).encode())


def _layers(image: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The layers of a recorded image, whose trees have no names yet."""
    try:
        return tuple(
            Layer(
                str(each["diff_id"]),
                int(each["size"]),
                "",
                str(each["title"]),
                tuple(map(str, each["packages"])),
                Blob("", 0, "") if "blob" in each else None,
            )
            for each in image["layers"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> LayerError:
    reason = f"it lacks {error}" if isinstance(error, KeyError) else error
    return LayerError(f"{RECORD} of the image cannot be read ({reason}); it was not written by envbuild")
