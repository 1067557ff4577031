"""Layers of images from elsewhere, kept as trees: found by diffID where they are there already, else unpacked.

A tree's record, `NAME.json` beside it, says which layer it is; a base's record says it of its own tree.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

from envbuild.errors import LayerError, StoreError

from .. import atomic
from ..image import Blob
from ..packing.pieces import NAME_LENGTH, layer_digest
from ..store import Store
from .compression import media_type
from .layer import FORMAT_VERSION
from .unpack_layer import Readable, unpack_layer

OpenLayer = Callable[[str], AbstractContextManager[Readable]]
"""Opens the layer with this diffID: a tar, plain or compressed. Called in worker threads, once for each layer."""


def find_trees(home: Path) -> dict[str, str]:
    """diffID -> name, for every tree of this home."""
    found = {}
    for record in _records(home):
        try:
            document = json.loads(record.read_bytes())
            name, diff_id = str(document.get("tree", record.stem)), str(document["diff_id"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if (home / "trees" / name).is_dir():
            found[diff_id] = name
    return found


def add_tree(home: Path, diff_id: str, size: int, open_layer: OpenLayer) -> str:
    """Unpack the layer `diff_id`, of `size` bytes, below `trees/`; return the tree's name.

    Raises:
        LayerError: it is not what its digest promises, holds something refused, or is no layer that envbuild wrote:
            its tree would not give the same bytes again.
        StoreError: the disk is full.
    """
    name = _name(diff_id)
    trees = home / "trees"
    with atomic.key_lock(trees, name):
        fresh = not (trees / name).is_dir()
        if fresh:
            try:
                with atomic.new_folder(trees / name) as tree, open_layer(diff_id) as source:
                    unpack_layer(source, tree, diff_id, size)
            except OSError as error:
                raise StoreError(
                    f"{trees} cannot be written ({error.strerror or error}); make room and try again"
                ) from error
        if layer_digest(trees, name)[0] != diff_id:
            if not fresh:
                raise LayerError(f"the digest {diff_id} begins like that of another layer that is here; refused")
            (trees / f"{name}.json").unlink()
            atomic.remove_tree(trees / name)
            raise LayerError(f"the layer {diff_id} was not written by envbuild: its files do not give its bytes again")
    return name


def add_foreign_tree(home: Path, diff_id: str, max_size: int, open_layer: OpenLayer) -> tuple[str, int, Blob]:
    """Unpack a layer that others wrote, and keep its blob as it came: its tree does not give its bytes.

    Returns the tree's name, the bytes of the uncompressed tar (`max_size` at most), and the blob.

    Raises:
        LayerError: it is not what its digest promises, or holds something refused.
        StoreError: the disk is full.
    """
    name = _name(diff_id)
    trees, store = home / "trees", Store(home)
    with atomic.key_lock(trees, name):
        known = find_foreign_tree(home, diff_id)
        if known is not None:
            return known
        try:
            with open_layer(diff_id) as source:
                blob = _keep(source, store)
            atomic.remove_tree(trees / name)
            with atomic.new_folder(trees / name) as tree, store.blob_file(blob.digest).open("rb") as file:
                size = unpack_layer(file, tree, diff_id, max_size)
            record = {"diff_id": diff_id, "size": size, "format": FORMAT_VERSION, "blob": asdict(blob)}
            atomic.write_file(trees / f"{name}.json", json.dumps(record).encode())
        except OSError as error:
            raise StoreError(
                f"{trees} cannot be written ({error.strerror or error}); make room and try again"
            ) from error
    return name, size, blob


def find_foreign_tree(home: Path, diff_id: str) -> tuple[str, int, Blob] | None:
    """What `add_foreign_tree` returned, when tree and blob are here."""
    name, store = _name(diff_id), Store(home)
    try:
        known = json.loads((store.trees / f"{name}.json").read_bytes())
        size, blob = int(known["size"]), Blob(**known["blob"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = known["diff_id"] == diff_id and (store.trees / name).is_dir() and store.blob_file(blob.digest).is_file()
    return (name, size, blob) if whole else None


def _name(diff_id: str) -> str:
    """The name of a tree from elsewhere. Pieces have hexadecimal names: no layer can pass for one of them."""
    return f"r{diff_id.removeprefix('sha256:')[: NAME_LENGTH - 1]}"


def _keep(source: Readable, store: Store) -> Blob:
    """Copy what `source` gives into the store."""
    seen, size, first = hashlib.sha256(), 0, b""
    with atomic.scratch_file(store.blobs) as scratch:
        with scratch.open("wb") as file:
            while piece := source.read(1 << 20):
                first = first or piece[:4]
                seen.update(piece)
                size += file.write(piece)
        digest = f"sha256:{seen.hexdigest()}"
        store.take_blob(digest, scratch)
    return Blob(digest, size, media_type(first))


def _records(home: Path) -> Iterable[Path]:
    yield from (home / "trees").glob("*.json")
    yield from (home / "bases").glob("*/*/base.json")
