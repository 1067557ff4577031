"""An image of the store into a repository of a registry: only what is missing there travels.

    layers -> known blobs -> HEAD -> compress what is needed -> mount or upload -> manifest

The manifest is written last and by its digest; tags are its caller's, when everything that belongs to the image is
there. So nobody ever finds half an image under a name.
"""

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from envbuild.errors import StoreError

from ..distribution.memory import Memory
from ..distribution.repository import Repository
from ..distribution.upload import CHUNK, upload_blob
from ..image import MANIFEST_TYPE, Blob, Image, Layer, digest, make_manifest
from ..layers.compression import Compression
from ..report import Reporter
from ..store import Store


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    manifest: bytes
    """Of the image, or the index of several platforms' images."""
    there: int
    """Layers that the repository had."""
    mounted: int
    """Layers that it took from another repository of the registry."""
    missing: int
    """Layers that were sent."""
    sent: int
    """Bytes of layers that travelled."""

    @property
    def media_type(self) -> str:
        """Of the manifest or index."""
        return str(json.loads(self.manifest)["mediaType"])

    @property
    def digest(self) -> str:
        return digest(self.manifest)


def push_image(
    image: Image, annotations: Mapping[str, str], repository: Repository, how: Compression, store: Store,
    memory: Memory, reporter: Reporter, chunk: int = CHUNK,
) -> Pushed:  # fmt: skip
    """Bring `image` into `repository`, compressed as `how` says, with `annotations` beside its labels.

    Raises:
        RegistryError: the registry fails or refuses something; what has arrived stays for the next try.
        StoreError: a layer is gone or was changed, or the disk is full.
    """
    with memory.one_writer(repository.name):
        repository.put_blob(image.config)  # first: whoever may not push should not wait for compressing to hear so
    try:
        placed = _place(image.layers, repository, how, store, memory)
        missing = [layer for layer in image.layers if placed[layer].how == "missing"]
        made = _compress(missing, repository, how, store, reporter)
        sent = _upload(list(dict.fromkeys(made.values())), repository, store, memory, reporter, chunk)
    except OSError as error:
        raise StoreError(
            f"{store.folder} cannot be written: {error.strerror or error}; make room, then go on"
        ) from error
    blobs = [made.get(layer) or placed[layer].blob for layer in image.layers]
    listed = [each for each in blobs if each is not None]
    labels = json.loads(image.config)["config"]["Labels"]
    manifest = make_manifest(image.config, listed, {**labels, **annotations})
    with memory.one_writer(repository.name):
        repository.put_manifest(manifest, MANIFEST_TYPE)
    memory.seen(repository.name, [blob.digest for blob in listed])
    ways = [place.how for place in placed.values()]
    return Pushed(manifest, ways.count("there"), ways.count("mounted"), len(missing), sent)


@dataclass(frozen=True)
class _Place:
    """Whether a layer is in the repository already."""

    how: str
    """`there`, `mounted` or `missing`."""
    blob: Blob | None
    """Known unless it must be compressed to know it."""


def _place(
    layers: Sequence[Layer], repository: Repository, how: Compression, store: Store, memory: Memory
) -> dict[Layer, _Place]:
    """Find or mount every layer whose blob is known, without needing its bytes."""
    known = {layer: store.known_blob(layer, how) for layer in layers}
    neighbours = memory.elsewhere(repository.name, [blob.digest for blob in known.values() if blob])

    def find(layer: Layer) -> _Place:
        blob = known[layer]
        if blob is None:
            return _Place("missing", None)
        if repository.has_blob(blob.digest):
            return _Place("there", blob)
        if blob.digest not in neighbours:
            return _Place("missing", blob)
        with memory.one_upload(repository.name, blob.digest, repository.connection.wait):
            if repository.has_blob(blob.digest):
                return _Place("there", blob)
            begun = repository.mount(blob.digest, neighbours[blob.digest])
            if begun is None:
                return _Place("mounted", blob)
            memory.note_upload(repository.name, blob.digest, begun)
        return _Place("missing", blob)

    return dict(zip(layers, repository.connection.in_parallel(find, layers), strict=True))


def _compress(
    layers: Sequence[Layer], repository: Repository, how: Compression, store: Store, reporter: Reporter
) -> dict[Layer, Blob]:
    """The blobs of `layers`, with their bytes in the store."""
    with (
        reporter.task("compress", sum(layer.size for layer in layers)) as task,
        ThreadPoolExecutor(os.cpu_count() or 1) as threads,
    ):

        def make(layer: Layer) -> Blob:
            blob = store.compressed(layer, how, threads)
            task.advance(layer.size)
            return blob

        return dict(zip(layers, repository.connection.in_parallel(make, layers), strict=True))


def _upload(
    blobs: Sequence[Blob], repository: Repository, store: Store, memory: Memory, reporter: Reporter, chunk: int
) -> int:
    """Send `blobs`, the largest first; return how many bytes that took."""
    with reporter.task("push", sum(blob.size for blob in blobs)) as task:

        def send(blob: Blob) -> int:
            return upload_blob(repository, blob, store.blob_file(blob.digest), memory, task.advance, chunk)

        return sum(repository.connection.in_parallel(send, sorted(blobs, key=lambda blob: -blob.size)))
