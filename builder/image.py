"""Layers in, the image's two JSON documents out: config and manifest (OCI image specification, config.md, manifest.md).

Both are pure functions of what they are given, with sorted keys and no time of their own: `created` is the newest
build time of the environment's packages, or SOURCE_DATE_EPOCH where that is set.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from .layer import MEDIA_TYPE
from .plan import PREFIX

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
USER = "1000:1000"
"""`envbuild` of the embedded bases; not root, as registries' scanners and clusters expect."""

_ARCHITECTURES = {"linux-64": "amd64", "linux-aarch64": "arm64", "linux-ppc64le": "ppc64le"}
_PATH = f"{PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Layer:
    """One layer of a finished image."""

    diff_id: str
    """`sha256:<hex>` of the uncompressed tar, which is also the blob's digest."""
    size: int
    """Bytes of the uncompressed tar."""
    tree: str
    """The name of the layer's tree in `trees/`."""
    title: str
    packages: tuple[str, ...]


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
    layers: Sequence[Layer], platform: str, created: int, variables: Mapping[str, str], labels: Mapping[str, str]
) -> Image:
    """Describe `layers` (lowest first) as an image; `created` is in seconds since 1970."""
    time = datetime.fromtimestamp(created, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    env = {"CONDA_PREFIX": PREFIX, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **variables}
    env["PATH"] = env.get("PATH", _PATH)
    config = _json(
        {
            "architecture": _ARCHITECTURES.get(platform, platform),
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
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": digest(config), "size": len(config)},
            "layers": [{"mediaType": MEDIA_TYPE, "digest": layer.diff_id, "size": layer.size} for layer in layers],
            "annotations": {"org.opencontainers.image.created": time, **labels},
        }
    )
    return Image(config, manifest, tuple(layers))


def digest(data: bytes) -> str:
    """`sha256:<hex>` of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
