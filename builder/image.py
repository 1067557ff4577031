"""Layers in, the image's two JSON documents out: config and manifest (OCI image specification, config.md, manifest.md).

Both are pure functions of what they are given, with sorted keys and no time of their own: `created` is the newest
build time of the environment's packages, or SOURCE_DATE_EPOCH where that is set.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from envbuild.errors import LayerError

from .layers.layer import MEDIA_TYPE
from .plan import PREFIX
from .platforms import find_platform

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
COMPRESSION = "dev.envbuild.compression"
"""The annotation of a compressed layer that says how its bytes came about."""
USER = "1000:1000"
"""`envbuild` of the embedded bases; not root, as registries' scanners and clusters expect."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Blob:
    """A layer as it travels: compressed or not, with the digest that a registry knows it by."""

    digest: str
    size: int
    """Bytes, as it travels."""
    media_type: str
    compression: str = ""
    """What compressed it, where that is known (`compression.Compression.describe`)."""

    def descriptor(self) -> dict[str, object]:
        """As a manifest lists it (OCI image specification, descriptor.md)."""
        plain: dict[str, object] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return {**plain, "annotations": {COMPRESSION: self.compression}} if self.compression else plain


@dataclass(frozen=True)
class Layer:
    """One layer of a finished image."""

    diff_id: str
    """`sha256:<hex>` of the uncompressed tar."""
    size: int
    """Bytes of the uncompressed tar."""
    tree: str
    """The name of the layer's tree in `trees/`."""
    title: str
    packages: tuple[str, ...]
    blob: Blob | None = None
    """The blob that the store keeps of a layer that envbuild did not write: its tree does not give its bytes."""


@dataclass(frozen=True)
class Image:
    """A finished image: its documents as bytes, and their digests."""

    config: bytes
    manifest: bytes
    layers: tuple[Layer, ...]

    @property
    def config_digest(self) -> str:
        return digest(self.config)

    @property
    def digest(self) -> str:
        return digest(self.manifest)

    @property
    def env(self) -> dict[str, str]:
        """The environment variables of the config."""
        return dict(item.split("=", 1) for item in json.loads(self.config)["config"]["Env"])


def make_image(
    layers: Sequence[Layer],
    platform: str,
    created: int,
    variables: Mapping[str, str],
    labels: Mapping[str, str],
    inherited: Mapping[str, str] | None = None,
) -> Image:
    """Describe `layers` (lowest first) as an image; `created` is in seconds since 1970.

    `inherited` are the variables of the base's own config; those of the environment stand before them.
    """
    time = datetime.fromtimestamp(created, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    below = dict(inherited or {})
    path = f"{PREFIX}/bin:{below.pop('PATH', _PATH)}"
    env = {"CONDA_PREFIX": PREFIX, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PATH": path, **below, **variables}
    config = to_json(
        {
            "architecture": find_platform(platform).architecture,
            "os": "linux",
            "created": time,
            "config": {
                "Cmd": ["/bin/bash"],
                "Env": [f"{name}={env[name]}" for name in sorted(env)],
                "Labels": {"org.opencontainers.image.created": time, **labels},
                "User": USER,
                "WorkingDir": "/",
            },
            "history": [{"created": time, "created_by": f"envbuild: {layer.title}"} for layer in layers],
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }
    )
    return describe_image(config, layers)


def describe_image(config: bytes, layers: Sequence[Layer]) -> Image:
    """The image of `config` and `layers`; the labels of the config are the manifest's annotations too.

    Raises:
        LayerError: `config` is no image config of these layers.
    """
    try:
        document = json.loads(config)
        diff_ids, labels = document["rootfs"]["diff_ids"], dict(document["config"]["Labels"])
    except (ValueError, KeyError, TypeError) as error:
        raise LayerError(f"the image config {digest(config)} cannot be read: {error}") from None
    if diff_ids != [layer.diff_id for layer in layers]:
        raise LayerError(f"the image config {digest(config)} lists other layers than its image has")
    blobs = [Blob(layer.diff_id, layer.size, MEDIA_TYPE) for layer in layers]
    return Image(config, make_manifest(config, blobs, labels), tuple(layers))


def make_manifest(config: bytes, blobs: Sequence[Blob], annotations: Mapping[str, str]) -> bytes:
    """The manifest that lists `blobs`, the lowest layer first."""
    return to_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": digest(config), "size": len(config)},
            "layers": [each.descriptor() for each in blobs],
            "annotations": dict(annotations),
        }
    )


def make_index(images: Sequence[Image]) -> bytes:
    """The index of one image for each of several platforms (OCI image specification, image-index.md)."""
    return to_json(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [
                {
                    "mediaType": MANIFEST_TYPE,
                    "digest": image.digest,
                    "size": len(image.manifest),
                    "platform": platform_of(image),
                }
                for image in images
            ],
        }
    )


def platform_of(image: Image) -> dict[str, str]:
    """What the descriptor of a manifest says about where its image runs."""
    config = json.loads(image.config)
    return {"architecture": config["architecture"], "os": config["os"]}


def chain_id(diff_ids: Sequence[str]) -> str:
    """The identity of a stack of layers, the lowest first (OCI image specification, config.md, "Layer ChainID")."""
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = digest(f"{chain} {diff_id}".encode())
    return chain


def digest(data: bytes) -> str:
    """`sha256:<hex>` of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def to_json(document: Mapping[str, object]) -> bytes:
    """`document` in the one form that its digest is taken of: sorted keys, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
