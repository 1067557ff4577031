"""What travels beside an image: its environment's files as OCI artifacts that refer to it.

Artifacts (OCI image specification 1.1, manifest.md, "Guidelines for Artifact Usage"): the SBOM under the type that
scanners ask for, the packages, and all other files. A file is a blob with its name as title, as ORAS does it. The same
manifests serve in a registry (the referrers API) and in an archive.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import LayerError

from ..image import MANIFEST_TYPE, digest

ENVIRONMENT_TYPE = "application/vnd.dev.envbuild.environment.v1"
PACKAGES_TYPE = "application/vnd.dev.envbuild.packages.v1"
SBOM_TYPE = "application/vnd.cyclonedx+json"
SBOM_FILE = "sbom.cdx.json"
TITLE = "org.opencontainers.image.title"
EMPTY = b"{}"
_EMPTY_CONFIG = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(EMPTY), "size": len(EMPTY)}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MEDIA_TYPES = {".json": "application/json", ".yml": "application/yaml", ".txt": "text/plain"}


@dataclass(frozen=True)
class Artifact:
    """A manifest that refers to an image, and the blobs that it lists."""

    type: str
    manifest: bytes
    blobs: Mapping[str, bytes]
    """Digest -> content; the empty config is one of them."""

    @property
    def descriptor(self) -> dict[str, object]:
        return {
            "mediaType": MANIFEST_TYPE,
            "digest": digest(self.manifest),
            "size": len(self.manifest),
            "artifactType": self.type,
        }


def make_artifacts(image: bytes, files: Mapping[str, bytes]) -> tuple[Artifact, ...]:
    """`files` as artifacts of the image whose manifest (or index, of several platforms) is `image`."""
    subject = _subject(image)
    own = {name: content for name, content in files.items() if name != SBOM_FILE}
    artifacts = [_artifact(ENVIRONMENT_TYPE, "", subject, own)]
    if SBOM_FILE in files:
        artifacts.append(_artifact(SBOM_TYPE, SBOM_TYPE, subject, {SBOM_FILE: files[SBOM_FILE]}))
    return tuple(artifacts)


def make_package_artifact(image: bytes, packages: Mapping[str, Path]) -> Artifact:
    """The artifact that lists `packages` (sha256 -> file); its blobs are these files."""
    layers = [
        _descriptor("application/octet-stream", f"sha256:{sha256}", file.stat().st_size, file.name)
        for sha256, file in sorted(packages.items(), key=lambda each: each[1].name)
    ]
    return Artifact(PACKAGES_TYPE, _manifest(PACKAGES_TYPE, layers, _subject(image)), {digest(EMPTY): EMPTY})


def read_titles(manifest: bytes, image_digest: str, types: Collection[str]) -> dict[str, tuple[str, int]]:
    """Name -> (digest, size) of the files of an artifact; nothing when it is of no type of `types` or of another image.

    Raises:
        LayerError: it is ours and is damaged.
    """
    return {name: (blob, size) for name, blob, size in _files(manifest, image_digest, types)}


def read_packages(manifest: bytes, image_digest: str) -> set[str]:
    """The digests of the packages of an artifact; two of different platforms may have one name.

    Raises:
        LayerError: it is ours and is damaged.
    """
    return {blob for _, blob, _ in _files(manifest, image_digest, (PACKAGES_TYPE,))}


def _files(manifest: bytes, image_digest: str, types: Collection[str]) -> list[tuple[str, str, int]]:
    try:
        document = json.loads(manifest)
        if document.get("artifactType") not in types:
            return []
        if document["subject"]["digest"] != image_digest:
            return []
        found = [(each["annotations"][TITLE], each["digest"], each["size"]) for each in document["layers"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LayerError(f"the artifact {digest(manifest)} of the image cannot be read: {error}") from None
    for name, blob, size in found:
        if not (isinstance(name, str) and _DIGEST.fullmatch(str(blob)) and isinstance(size, int) and size >= 0):
            raise LayerError(f"the artifact {digest(manifest)} lists {name!r} with no usable digest or size")
    return found


def _artifact(kind: str, media_type: str, subject: Mapping[str, object], files: Mapping[str, bytes]) -> Artifact:
    layers = [
        _descriptor(media_type or _media_type(name), digest(content), len(content), name)
        for name, content in sorted(files.items())
    ]
    blobs = {digest(EMPTY): EMPTY} | {digest(content): content for content in files.values()}
    return Artifact(kind, _manifest(kind, layers, subject), blobs)


def _subject(image: bytes) -> dict[str, object]:
    return {"mediaType": json.loads(image)["mediaType"], "digest": digest(image), "size": len(image)}


def _media_type(name: str) -> str:
    return _MEDIA_TYPES.get(f".{name.rpartition('.')[2]}", "application/octet-stream")


def _descriptor(media_type: str, blob: str, size: int, title: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob, "size": size, "annotations": {TITLE: title}}


def _manifest(kind: str, layers: Sequence[Mapping[str, object]], subject: Mapping[str, object]) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": kind,
        "config": _EMPTY_CONFIG,
        "layers": layers,
        "subject": subject,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
