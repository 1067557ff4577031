"""An image in a registry in, its documents and blobs here out: chosen by platform, verified.

    tag or digest -> manifest (of an index: the platform's) -> config -> blobs

A blob is checked against the digest of the manifest before anything reads it; its content is checked against the
diffID of the config when it is unpacked (`trees`).
"""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from envbuild.errors import RegistryError, StoreError

from .distribution.download import download_blob
from .distribution.reference import Reference, is_digest
from .distribution.repository import INDEX_TYPES, MANIFEST_TYPES, Manifest, Repository
from .image import COMPRESSION, Blob, digest
from .layers.compression import Compression
from .layers.trees import OpenLayer
from .platforms import find_platform
from .report import Reporter
from .store import Store


@dataclass(frozen=True)
class RemoteImage:
    """An image as a registry describes it: small documents, checked against each other; no layer yet."""

    reference: Reference
    manifest: Manifest
    """Of the one platform."""
    top: str
    """The digest that the reference names: of the manifest, or of the index it was chosen from."""
    config: bytes
    blobs: tuple[Blob, ...]
    """The layers, the lowest first."""
    diff_ids: tuple[str, ...]

    @property
    def config_digest(self) -> str:
        return digest(self.config)

    @property
    def env(self) -> dict[str, str]:
        """The variables of the config."""
        items = (json.loads(self.config).get("config") or {}).get("Env") or ()
        return dict(str(item).split("=", 1) for item in items if "=" in str(item))

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations of the manifest."""
        found = self.manifest.document.get("annotations") or {}
        return {str(key): str(value) for key, value in found.items()}


def find_image(repository: Repository, reference: Reference, platform: str) -> RemoteImage | None:
    """Describe the image that `reference` names for `platform` (`linux-64`); `None` where there is no such image.

    Raises:
        RegistryError: it is of another platform, or its documents do not fit each other.
    """
    found = repository.manifest(reference.digest or reference.tag)
    if found is None:
        return None
    top = found.digest
    try:
        if found.media_type in INDEX_TYPES:
            found = _of_platform(repository, found, reference, platform)
        if found.media_type not in MANIFEST_TYPES:
            kind = found.media_type or "thing without a type"
            raise RegistryError(f"{reference} is a {kind}, no image; check the name")
        return _describe(repository, reference, found, top, platform)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"they lack {error}" if isinstance(error, KeyError) else error
        raise RegistryError(f"{reference} is no usable image: its documents cannot be read ({reason})") from None


@contextmanager
def pulled(
    images: Sequence[RemoteImage],
    wanted: Collection[str],
    foreign: Collection[str],
    repository: Repository,
    store: Store,
    reporter: Reporter,
) -> Iterator[OpenLayer]:
    """The layers of `images` with the diffIDs `wanted`, brought here to be unpacked.

    Afterwards only the blobs of `foreign` stay, which envbuild did not write: the others can be made again.

    Raises:
        RegistryError: a layer cannot be had, or is not what its digest says; what has arrived stays for the next try.
        StoreError: the disk is full.
    """
    pairs = (pair for image in images for pair in zip(image.diff_ids, image.blobs, strict=True))
    blobs = {diff_id: blob for diff_id, blob in pairs if diff_id in wanted}
    kept = {blob.digest for blob in blobs.values() if store.blob_file(blob.digest).is_file()}
    missing = list({blob.digest: blob for blob in blobs.values() if blob.digest not in kept}.values())
    try:
        with reporter.task("pull", sum(blob.size for blob in missing)) as task:
            repository.connection.in_parallel(
                lambda blob: download_blob(repository, blob, store, task.advance),
                sorted(missing, key=lambda blob: -blob.size),
            )
    except OSError as error:
        raise StoreError(
            f"{store.folder} cannot be written: {error.strerror or error}; make room, then go on"
        ) from error
    yield lambda diff_id: store.blob_file(blobs[diff_id].digest).open("rb")
    for diff_id, blob in blobs.items():
        _note_compression(store, diff_id, blob)
        if blob in missing and diff_id not in foreign:
            store.blob_file(blob.digest).unlink(missing_ok=True)


def _of_platform(repository: Repository, index: Manifest, reference: Reference, platform: str) -> Manifest:
    """The manifest for `platform` out of an index (OCI image specification, image-index.md)."""
    wanted = ("linux", find_platform(platform).architecture)
    offered = []
    for entry in index.document.get("manifests") or ():
        described = entry.get("platform") or {}
        found = (described.get("os"), described.get("architecture"))
        if found == wanted and is_digest(entry.get("digest")):
            manifest = repository.manifest(entry["digest"])
            if manifest is None:
                raise RegistryError(
                    f"{reference} names {entry['digest']}, which the registry has not; ask who pushed it"
                )
            return manifest
        offered.append("/".join(map(str, found)))
    known = ", ".join(sorted(set(offered))) or "none"
    raise RegistryError(f"{reference} has no image for {'/'.join(wanted)} ({platform}); it has {known}")


def _describe(repository: Repository, reference: Reference, manifest: Manifest, top: str, platform: str) -> RemoteImage:
    document = manifest.document
    config = repository.read_blob(_digest(document["config"]["digest"]))
    described = json.loads(config)
    blobs = tuple(
        Blob(
            _digest(each["digest"]),
            int(each["size"]),
            str(each["mediaType"]),
            str((each.get("annotations") or {}).get(COMPRESSION, "")),
        )
        for each in document["layers"]
    )
    if any(blob.size < 0 for blob in blobs):
        raise ValueError("a layer of less than 0 bytes")
    diff_ids = tuple(_digest(each) for each in described["rootfs"]["diff_ids"])
    if len(blobs) != len(diff_ids) or not blobs:
        raise ValueError(f"{len(blobs)} layers and {len(diff_ids)} diffIDs")
    found = (described.get("os"), described.get("architecture"))
    if found != ("linux", find_platform(platform).architecture):
        raise RegistryError(f"{reference} is an image for {'/'.join(map(str, found))}, not for {platform}")
    image = RemoteImage(reference, manifest, top, config, blobs, diff_ids)
    _ = image.env, image.annotations  # what cannot be read is said here, and not to whoever asks later
    return image


def _digest(text: object) -> str:
    if not isinstance(text, str) or not is_digest(text):
        raise ValueError(f"{text!r} is no sha256 digest")
    return text


def _note_compression(store: Store, diff_id: str, blob: Blob) -> None:
    """Remember the digest under which the layer travels: pushing it again to that registry needs no compressing."""
    for codec in ("gzip", "zstd"):
        how = Compression.default(codec)
        if blob.compression == how.describe():
            store.remember_blob(diff_id, how, blob)
