"""An image as files: a complete OCI image layout, with Docker's `manifest.json` beside it.

One tree that `docker load`, podman, skopeo, ctr and umoci all read, written into a folder here and into a tar by
`archive`. The artifacts that travel with the image (`artifact`) are in the same layout and listed in its `index.json`.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.errors import EnvbuildError, ExportError, InputError

from .. import atomic
from ..image import INDEX_TYPE, MANIFEST_TYPE, Image, Layer, digest, make_index, platform_of
from ..report import Reporter
from ..store import LAYOUT, Store
from .artifact import Artifact

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"

_WRONG_PLACE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.ELOOP, errno.ENAMETOOLONG,
)  # fmt: skip

Write = Callable[[bytes | memoryview], object]


@dataclass(frozen=True)
class Part:
    """One file of a layout."""

    path: str
    """`blobs/sha256/<hex>`, or a name at the top."""
    size: int
    content: bytes | Layer | Path
    """The bytes themselves, the layer whose tar it is, or a file to copy."""


def image_reference(name: str, version: int) -> str:
    """`NAME:VERSION` as container engines take it: in small letters, no two separators together (OCI distribution
    specification, "Pulling manifests")."""
    plain = re.sub(r"[._-]*([._-])[._-]*", r"\1", re.sub(r"[^a-z0-9._-]", "-", name.lower())).strip("._-")
    return f"{plain or 'environment'}:{version}"


def layout_parts(
    image: Image,
    reference: str,
    artifacts: Sequence[Artifact] = (),
    files: Mapping[str, Path] | None = None,
    others: Sequence[Image] = (),
) -> list[Part]:
    """The files of the layout of `image`: the documents first, so that a reader of a stream knows what will come.

    `reference` is from `image_reference`; `files` are blobs that artifacts list: hex of the sha256 -> file.
    With `others`, the images of the same environment for other platforms, the reference is an index of all of them;
    `manifest.json`, which knows no platforms, names `image`.
    """
    images = (image, *others)
    blobs = [blob for each in images for blob in (each.config, each.manifest)]
    if others:
        blobs.append(make_index(images))
    for artifact in artifacts:
        blobs += [artifact.manifest, *artifact.blobs.values()]
    documents = {
        "oci-layout": LAYOUT,
        "index.json": _json(_index(images, reference, artifacts)),
        "manifest.json": _json(docker_manifest(image, reference)),
        **{_blob(digest(content)): content for content in blobs},
    }
    parts = [Part(path, len(content), content) for path, content in documents.items()]
    parts += [
        Part(path, layer.size, layer)
        for path, layer in {_blob(layer.diff_id): layer for each in images for layer in each.layers}.items()
    ]
    return parts + [Part(_blob(name), file.stat().st_size, file) for name, file in sorted((files or {}).items())]


def export_layout(parts: Sequence[Part], store: Store, folder: Path, reporter: Reporter) -> Path:
    """Write `parts` to the new (or empty) folder `folder`; files are hard-linked where that is possible.

    Raises:
        InputError: `folder` holds something already, or is in a place where nothing can be made.
        ExportError: it cannot be written.
        StoreError: a layer is missing or was changed.
    """
    try:
        _check_free(folder)
        sweep_beside(folder)
        with atomic.new_folder(folder) as target, reporter.task("export", sum(part.size for part in parts)) as task:
            (target / "blobs/sha256").mkdir(parents=True)
            for part in parts:
                _write_file(part, store, target / part.path)
                task.advance(part.size)
    except OSError as error:
        raise not_written(folder, error) from error
    return folder


def sweep_beside(path: Path) -> None:
    """Remove what a killed export left there: nobody else would, and it may be as large as an image."""
    with suppress(OSError):  # a folder that may be written and not read
        atomic.sweep(path.parent, shared=True)


def not_written(path: Path, error: OSError) -> EnvbuildError:
    """Why `path` could not be written: the place that was named is wrong, or the disk is."""
    reason = f"{path} cannot be written: {error.strerror or error}"
    if error.errno in _WRONG_PLACE:
        return InputError(f"{reason}; name another place, or make it writable")
    return ExportError(f"{reason}; make room, or name another place")


def write_content(part: Part, store: Store, write: Write) -> None:
    """Hand the bytes of `part` to `write`; a piece may be used again once `write` returns.

    Raises:
        StoreError: a layer is missing or was changed.
        ExportError: a file has not the size that it had.
    """
    if isinstance(part.content, bytes):
        write(part.content)
    elif isinstance(part.content, Layer):
        store.stream_layer(part.content, write)
    else:
        written = 0
        with part.content.open("rb") as file:
            while data := file.read(1 << 20):
                written += len(data)
                write(data)
        if written != part.size:
            raise ExportError(f"{part.content} changed while it was read; try again")


def docker_manifest(image: Image, reference: str) -> list[dict[str, Any]]:
    """What `docker save` writes: paths instead of digests (Docker image specification 1.2)."""
    return [
        {
            "Config": _blob(image.config_digest),
            "RepoTags": [reference],
            "Layers": [_blob(layer.diff_id) for layer in image.layers],
        }
    ]


def _check_free(folder: Path) -> None:
    if folder.resolve() == Path.cwd():
        raise InputError(f"{folder} is the folder that you are in; name a new one, for instance oci:image")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; name a new folder")
    if any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name a new folder, or remove it first")


def _write_file(part: Part, store: Store, path: Path) -> None:
    if isinstance(part.content, Path):
        try:
            os.link(part.content, path)
        except OSError:
            shutil.copyfile(part.content, path)
        return
    with path.open("wb") as file:
        write_content(part, store, file.write)


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _index(images: Sequence[Image], reference: str, artifacts: Sequence[Artifact]) -> dict[str, Any]:
    annotations = {REF_NAME: reference.rpartition(":")[2], CONTAINERD_NAME: f"docker.io/library/{reference}"}
    descriptor = {**_descriptor(images), "annotations": annotations}
    return {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [descriptor, *(artifact.descriptor for artifact in artifacts)],
    }


def _descriptor(images: Sequence[Image]) -> dict[str, Any]:
    """The manifest of one image, or the index of several."""
    if len(images) > 1:
        index = make_index(images)
        return {"mediaType": INDEX_TYPE, "digest": digest(index), "size": len(index)}
    image = images[0]
    return {
        "mediaType": MANIFEST_TYPE,
        "digest": image.digest,
        "size": len(image.manifest),
        "platform": platform_of(image),
    }


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
