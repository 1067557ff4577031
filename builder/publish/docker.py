"""An image into a container engine, sending only what it has not got.

Docker Engine's own store names a layer by its ChainID: the hash of the layer and all below it (OCI image
specification, config.md). Its loader takes a layer that is known by ChainID from its store and never looks for its
tar, so the archive may leave it out. That is how the daemon behaves, not a promise of its API: when it refuses, all
layers are sent. Podman and containerd's store get all of them at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envbuild.errors import EngineError

from ..image import Image
from ..report import Reporter
from ..store import Store
from .archive import stream_archive
from .engine import Engine, engine_errors
from .layout import Part, layout_parts

if TYPE_CHECKING:
    from docker.models.images import Image as EngineImage


@dataclass(frozen=True)
class Loaded:
    """What `load_image` did."""

    image_id: str
    """What the engine calls the image."""
    reference: str
    """The tag that it has there."""
    sent_layers: int
    sent_bytes: int
    status: str
    """`there` (nothing was sent), `part` (the missing layers were) or `all`."""


def load_image(image: Image, reference: str, store: Store, engine: Engine, reporter: Reporter) -> Loaded:
    """Have `image` in `engine` under the tag `reference`.

    Raises:
        EngineError: the engine refuses the image, its disk is full, or the connection broke off.
        StoreError: a layer is missing or was changed.
    """
    with engine_errors(engine, f"look for the image {reference}"):
        there = find_image(image, engine)
        known = known_layers(image, engine) if there is None and engine.takes_partial_archives else 0
    if there is not None:
        _tag(there, reference, engine)
        return Loaded(str(there.id), reference, 0, 0, "there")
    if known:
        try:
            return _send(image, reference, store, engine, reporter, known)
        except _Refused as refusal:
            reporter.log("load", f"{engine.product} refused an archive without its {known} known layers: {refusal}")
    try:
        return _send(image, reference, store, engine, reporter, 0)
    except _Refused as refusal:
        raise EngineError(f"{engine.product} could not load {reference}: {refusal}") from None


def find_image(image: Image, engine: Engine) -> "EngineImage | None":
    """The image as `engine` has it: by the id of its config or, in containerd's store, of its manifest."""
    from docker.errors import ImageNotFound

    for name in (image.config_digest, image.digest):
        try:
            found: EngineImage = engine.client.images.get(name)
            return found
        except ImageNotFound:
            continue
    return None


def known_layers(image: Image, engine: Engine) -> int:
    """How many of the lowest layers of `image` are, in this order, the lowest of an image that `engine` has."""
    wanted = [layer.diff_id for layer in image.layers]
    return max((_shared(wanted, _diff_ids(each)) for each in engine.client.images.list(all=True)), default=0)


class _Refused(Exception):
    """The engine read the archive and did not take it."""


def _diff_ids(image: "EngineImage") -> list[str]:
    return list((image.attrs.get("RootFS") or {}).get("Layers") or ())


def _shared(one: list[str], other: list[str]) -> int:
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _send(image: Image, reference: str, store: Store, engine: Engine, reporter: Reporter, known: int) -> Loaded:
    """Send `image` without its `known` lowest layers."""
    import docker.errors

    lacking = {layer.diff_id for layer in image.layers[known:]}
    have = {layer.diff_id for layer in image.layers} - lacking
    parts = [part for part in layout_parts(image, reference) if not _is_layer_of(part, have)]
    sent = sum(part.size for part in parts)
    with engine_errors(engine, f"load {reference}"), reporter.task("load", sent) as task:

        def pieces() -> Iterator[bytes]:
            for piece in stream_archive(parts, store):
                yield piece
                task.advance(len(piece))

        try:
            # the API and not `images.load`, which looks for the image by names that Podman does not answer with
            for line in engine.client.api.load_image(pieces()):  # type: ignore[no-untyped-call]
                if "errorDetail" in line or "error" in line:
                    raise docker.errors.ImageLoadError(str(line.get("error") or line["errorDetail"].get("message")))
            there = find_image(image, engine)
        except docker.errors.ImageLoadError as error:
            if "no space left" in str(error):
                raise
            raise _Refused(str(error)) from None
        except docker.errors.APIError as error:
            if known and error.status_code is not None and error.status_code >= 500:
                raise _Refused(str(error.explanation)) from None
            raise
    if there is None:
        raise _Refused("it has no such image after loading it")
    _tag(there, reference, engine)
    return Loaded(str(there.id), reference, len(lacking), sent, "part" if known else "all")


def _is_layer_of(part: Part, diff_ids: set[str]) -> bool:
    return f"sha256:{part.path.rpartition('/')[2]}" in diff_ids


def _tag(image: "EngineImage", reference: str, engine: Engine) -> None:
    names = {reference, f"localhost/{reference}", f"docker.io/library/{reference}"}
    if not names & set(image.tags):
        name, _, tag = reference.rpartition(":")
        with engine_errors(engine, f"tag the image {reference}"):
            image.tag(name, tag)
