"""Where images are kept: an OCI image layout (OCI image specification 1.1, image-layout.md) beside a folder of trees.

The store holds manifests and configs as blobs. Layers are kept once, unpacked, as trees that runs mount; a layer's
tar is made from its tree when somebody asks for it, and is refused when the tree no longer gives the digest. Of a
layer that nobody here made (a base from a registry) the blob is kept as it came, and its tar is read from that.

    blobs/sha256/HEX                       manifests, configs, layers as they came, layers compressed to travel
    compressed/HEX.CODEC-LEVEL-FRAME.json  of which blob the tar with the diffID HEX is the content

A compressed blob can be made again and may be removed at any time; its record stays worth keeping, because it tells
the digest to ask a registry for.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from pathlib import Path

from envbuild.errors import StoreError

from . import atomic
from .image import INDEX_TYPE, MANIFEST_TYPE, Blob, Image, Layer, digest
from .layers.compression import Compression, compress
from .layers.layer import write_layer
from .layers.unpack_layer import decompressed

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class Store:
    """The images and layer trees of one home."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "store"
        self.blobs = self.folder / "blobs" / "sha256"
        self.trees = home / "trees"

    def add(self, image: Image) -> None:
        """Keep the documents of `image` and list it in `index.json`; adding it again changes nothing."""
        atomic.write_file(self.folder / "oci-layout", LAYOUT)
        self.put_blob(image.config)
        self.put_blob(image.manifest)
        self._list(MANIFEST_TYPE, image.manifest)

    def add_index(self, index: bytes) -> None:
        """Keep the index of several images, and list it too; the images themselves are added on their own."""
        self.put_blob(index)
        self._list(INDEX_TYPE, index)

    def forget(self, digests: Collection[str]) -> None:
        """Take the images with these digests off `index.json`; their blobs can go then."""
        with atomic.key_lock(self.folder, "index"):
            index = self._index()
            kept = [entry for entry in index if entry["digest"] not in digests]
            if len(kept) < len(index):
                document = {"schemaVersion": 2, "manifests": kept}
                atomic.write_file(self.folder / "index.json", json.dumps(document, sort_keys=True).encode())

    def blob(self, name: str) -> bytes:
        """The content of the blob `sha256:<hex>`.

        Raises:
            StoreError: it is missing or was changed.
        """
        path = self.blob_file(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise StoreError(f"the store has no blob {name}; register the environment again") from None
        if digest(data) != name:
            raise StoreError(f"{path} was changed; remove it and register the environment again")
        return data

    def blob_file(self, name: str) -> Path:
        """Where the blob `sha256:<hex>` lies when the store has it."""
        return self.blobs / name.removeprefix("sha256:")

    def put_blob(self, data: bytes) -> str:
        """Keep `data` and return its digest."""
        name = digest(data)
        if not self.blob_file(name).exists():
            atomic.write_file(self.blob_file(name), data)
        return name

    def take_blob(self, name: str, file: Path) -> None:
        """Move `file`, which was seen to have the digest `name`, into the store."""
        file.replace(self.blob_file(name))

    def tree(self, layer: Layer) -> Path:
        """The folder that holds the content of `layer`.

        Raises:
            StoreError: it is gone.
        """
        tree = self.trees / layer.tree
        if not tree.is_dir():
            raise StoreError(f"the layer {layer.title!r} is missing from {self.trees}; register the environment again")
        return tree

    def has_trees(self, layers: Sequence[Layer]) -> bool:
        """Whether every layer can be mounted."""
        return all((self.trees / layer.tree).is_dir() for layer in layers)

    def stream_layer(self, layer: Layer, write: Callable[[memoryview], object]) -> None:
        """Hand the layer's tar to `write`, hashing on the way.

        Raises:
            StoreError: the tree or blob no longer gives the layer's digest: something has changed it.
        """
        seen = hashlib.sha256()

        def write_and_hash(piece: memoryview) -> None:
            seen.update(piece)
            write(piece)

        if layer.blob is None:
            source = self.tree(layer)
            write_layer(source, write_and_hash)
        else:
            source = self._kept(layer, layer.blob)
            _read_tar(source, write_and_hash)
        if f"sha256:{seen.hexdigest()}" != layer.diff_id:
            raise StoreError(
                f"{source} no longer holds what was built for the layer {layer.title!r}; remove it and register again"
            )

    def known_blob(self, layer: Layer, how: Compression) -> Blob | None:
        """The blob that `layer` travels as, where that is known already; the store may or may not have its bytes."""
        if layer.blob is not None:
            return layer.blob
        try:
            known = json.loads(self._compressed(layer.diff_id, how).read_bytes())
            return Blob(str(known["digest"]), int(known["size"]), how.media_type, str(known["compression"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember_blob(self, diff_id: str, how: Compression, blob: Blob) -> None:
        """Note that the tar `diff_id` is the content of `blob`."""
        record = {"diff_id": diff_id, "digest": blob.digest, "size": blob.size, "compression": blob.compression}
        atomic.write_file(self._compressed(diff_id, how), json.dumps(record, sort_keys=True).encode())

    def compressed(self, layer: Layer, how: Compression, threads: Executor) -> Blob:
        """The blob of `layer` with its bytes in the store: made now, unless it is there.

        Raises:
            StoreError: the layer is gone or was changed, or the disk is full.
        """
        if layer.blob is not None:
            self._kept(layer, layer.blob)
            return layer.blob
        with atomic.key_lock(self.folder / "compressed", f"{layer.diff_id.removeprefix('sha256:')}.{how.key}"):
            known = self.known_blob(layer, how)
            if known is not None and self.blob_file(known.digest).is_file():
                return known
            with atomic.scratch_file(self.blobs) as file:
                blob = compress(lambda write: self.stream_layer(layer, write), file, how, threads)
                self.take_blob(blob.digest, file)
            self.remember_blob(layer.diff_id, how, blob)
        return blob

    def _kept(self, layer: Layer, blob: Blob) -> Path:
        file = self.blob_file(blob.digest)
        if not file.is_file():
            raise StoreError(
                f"the store has lost the blob {blob.digest} of the layer {layer.title!r}, which came from elsewhere; "
                "pull or import it again"
            )
        return file

    def _compressed(self, diff_id: str, how: Compression) -> Path:
        return self.folder / "compressed" / f"{diff_id.removeprefix('sha256:')}.{how.key}.json"

    def _list(self, media_type: str, document: bytes) -> None:
        name = digest(document)
        with atomic.key_lock(self.folder, "index"):
            index = self._index()
            if all(entry["digest"] != name for entry in index):
                index.append({"mediaType": media_type, "digest": name, "size": len(document)})
                layout = {"schemaVersion": 2, "manifests": sorted(index, key=lambda entry: str(entry["digest"]))}
                atomic.write_file(self.folder / "index.json", json.dumps(layout, sort_keys=True).encode())

    def _index(self) -> list[dict[str, object]]:
        try:
            manifests: list[dict[str, object]] = json.loads((self.folder / "index.json").read_bytes())["manifests"]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):
            raise StoreError(f"{self.folder / 'index.json'} is damaged; remove it and register again") from None
        return manifests


def _read_tar(blob: Path, write: Callable[[memoryview], object]) -> None:
    try:
        with blob.open("rb") as file:
            tar = decompressed(file)
            while piece := tar.read(1 << 20):
                write(memoryview(piece))
    except (zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise StoreError(f"{blob} was changed ({error}); remove it, and pull or register again") from None
