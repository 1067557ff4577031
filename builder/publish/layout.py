"""An image as a folder: a complete OCI image layout, with Docker's `manifest.json` beside it.

One tree that `docker load`, podman, skopeo, ctr and umoci all read.
"""

import json
from pathlib import Path

from envbuild.errors import ExportError

from .. import atomic
from ..image import MANIFEST_TYPE, Image
from ..report import Reporter
from ..store import LAYOUT, Store

_REF_NAME = "org.opencontainers.image.ref.name"


def export_layout(image: Image, tag: str, store: Store, folder: Path, reporter: Reporter) -> Path:
    """Write `image` to the new (or empty) folder `folder` under the reference `tag`.

    Raises:
        ExportError: `folder` holds something already, or cannot be written.
        StoreError: a layer is missing or was changed.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} is not empty; name a new folder, or remove it first")
    if folder.exists():
        folder.rmdir()
    with atomic.new_folder(folder) as target:
        blobs = target / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        (target / "oci-layout").write_bytes(LAYOUT)
        _blob(blobs, image.config_digest).write_bytes(image.config)
        _blob(blobs, image.digest).write_bytes(image.manifest)
        with reporter.task("export", sum(layer.size for layer in image.layers)) as task:
            for layer in image.layers:
                path = _blob(blobs, layer.diff_id)
                if not path.exists():
                    with path.open("wb") as file:
                        store.stream_layer(layer, file.write)
                task.advance(layer.size)
        (target / "index.json").write_text(json.dumps(_index(image, tag.rpartition(":")[2]), sort_keys=True))
        (target / "manifest.json").write_text(json.dumps(_docker_manifest(image, tag), sort_keys=True))
    return folder


def _blob(blobs: Path, digest: str) -> Path:
    return blobs / digest.removeprefix("sha256:")


def _index(image: Image, reference: str) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": MANIFEST_TYPE,
                "digest": image.digest,
                "size": len(image.manifest),
                "platform": _platform(image),
                "annotations": {_REF_NAME: reference},
            }
        ],
    }


def _platform(image: Image) -> dict[str, str]:
    config = json.loads(image.config)
    return {"architecture": config["architecture"], "os": config["os"]}


def _docker_manifest(image: Image, tag: str) -> list[dict[str, object]]:
    """What `docker save` writes: paths instead of digests (Docker image specification 1.2)."""
    return [
        {
            "Config": f"blobs/sha256/{image.config_digest.removeprefix('sha256:')}",
            "RepoTags": [tag.lower()],
            "Layers": [f"blobs/sha256/{layer.diff_id.removeprefix('sha256:')}" for layer in image.layers],
        }
    ]
