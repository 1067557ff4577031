"""Where images are kept: an OCI image layout (OCI image specification 1.1, image-layout.md) beside a folder of trees.

The store holds manifests and configs as blobs. Layers are kept once, unpacked, as trees that runs mount; a layer's
tar is made from its tree when somebody asks for it, and is refused when the tree no longer gives the digest.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from envbuild.errors import StoreError

from . import atomic
from .image import MANIFEST_TYPE, Image, Layer
from .layer import write_layer

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class Store:
    """The images and layer trees of one home."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "store"
        self.trees = home / "trees"

    def add(self, image: Image) -> None:
        """Keep the documents of `image` and list it in `index.json`; adding it again changes nothing."""
        atomic.write_file(self.folder / "oci-layout", LAYOUT)
        self._put(image.config_digest, image.config)
        self._put(image.digest, image.manifest)
        with atomic.key_lock(self.folder, "index"):
            index = self._index()
            if all(entry["digest"] != image.digest for entry in index):
                index.append({"mediaType": MANIFEST_TYPE, "digest": image.digest, "size": len(image.manifest)})
                document = {"schemaVersion": 2, "manifests": sorted(index, key=lambda entry: str(entry["digest"]))}
                atomic.write_file(self.folder / "index.json", json.dumps(document, sort_keys=True).encode())

    def blob(self, name: str) -> bytes:
        """The content of the blob `sha256:<hex>`.

        Raises:
            StoreError: it is missing or was changed.
        """
        path = self.folder / "blobs" / "sha256" / name.removeprefix("sha256:")
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise StoreError(f"the store has no blob {name}; register the environment again") from None
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != name:
            raise StoreError(f"{path} was changed; remove it and register the environment again")
        return data

    def tree(self, layer: Layer) -> Path:
        """The folder that holds the content of `layer`.

        Raises:
            StoreError: it is gone.
        """
        tree = self.trees / layer.tree
        if not tree.is_dir():
            raise StoreError(f"the layer {layer.title!r} is missing from {self.trees}; register the environment again")
        return tree

    def has_trees(self, layers: tuple[Layer, ...]) -> bool:
        """Whether every layer can be mounted."""
        return all((self.trees / layer.tree).is_dir() for layer in layers)

    def stream_layer(self, layer: Layer, write: Callable[[memoryview], object]) -> None:
        """Hand the layer's tar to `write`, hashing on the way.

        Raises:
            StoreError: the tree no longer gives the layer's digest: something has changed a file in it.
        """
        digest = hashlib.sha256()

        def write_and_hash(piece: memoryview) -> None:
            digest.update(piece)
            write(piece)

        tree = self.tree(layer)
        write_layer(tree, write_and_hash)
        if f"sha256:{digest.hexdigest()}" != layer.diff_id:
            raise StoreError(
                f"{tree} no longer holds what was built for the layer {layer.title!r}; remove it and register again"
            )

    def _put(self, name: str, data: bytes) -> None:
        path = self.folder / "blobs" / "sha256" / name.removeprefix("sha256:")
        if not path.exists():
            atomic.write_file(path, data)

    def _index(self) -> list[dict[str, object]]:
        try:
            manifests: list[dict[str, object]] = json.loads((self.folder / "index.json").read_bytes())["manifests"]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):
            raise StoreError(f"{self.folder / 'index.json'} is damaged; remove it and register again") from None
        return manifests
