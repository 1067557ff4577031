"""One repository of a registry: its manifests, its blobs, what refers to what.

Every document is checked against its digest before anybody reads it, and is small (OCI distribution specification,
"Pushing manifests": registries take 4 MiB at least, and we take no more).
"""

import json
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin

from envbuild.errors import RegistryError

from ..image import MANIFEST_TYPE, digest, to_json
from .connection import Connection, what_broke
from .reference import is_digest

if TYPE_CHECKING:
    import requests

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPES = (MANIFEST_TYPE, "application/vnd.docker.distribution.manifest.v2+json")
INDEX_TYPES = (INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json")

_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_EMPTY = b"{}"
_MAX_DOCUMENT = 4 << 20
_MAX_PAGES = 50
_MANIFEST_TRIES = 8
_BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"
_FALLBACK_TRIES = 8
_FALLBACK_PAUSE = 0.1
"""Seconds: longer than others take between reading the index of what refers to an image and writing it."""


@dataclass(frozen=True)
class Manifest:
    """A manifest or index as a registry has it."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> str:
        return digest(self.data)

    @property
    def document(self) -> Any:
        return json.loads(self.data)


@dataclass(frozen=True)
class Artifact:
    """One file that refers to an image (OCI image specification 1.1, manifest.md, "artifacts")."""

    artifact_type: str
    media_type: str
    name: str
    data: bytes
    annotations: tuple[tuple[str, str], ...] = ()


class Repository:
    """A repository that we read, or with `push` also write."""

    def __init__(
        self, connection: Connection, name: str, *, push: bool = False, mount_from: Sequence[str] = ()
    ) -> None:
        self.connection = connection
        self.name = name
        self.scopes = (
            f"repository:{name}:{'pull,push' if push else 'pull'}",
            *(f"repository:{each}:pull" for each in mount_from),
        )

    @property
    def place(self) -> str:
        """`registry/repository`"""
        return f"{self.connection.registry}/{self.name}"

    def manifest(self, reference: str) -> Manifest | None:
        """The manifest or index under a tag or digest, or `None`.

        Raises:
            RegistryError: the registry fails, or what it sends is not what it says.
        """
        what = f"{self.place}:{reference}" if not is_digest(reference) else f"{self.place}@{reference}"
        answer, data = self._document(
            f"{self.name}/manifests/{reference}", what, ok=(200, 404), expected=reference,
            accept=", ".join((*MANIFEST_TYPES, *INDEX_TYPES)),
        )  # fmt: skip
        if answer.status_code == 404:
            return None
        return Manifest(data, _media_type(data, answer.headers.get("Content-Type", ""), what))

    def put_manifest(self, data: bytes, media_type: str, tag: str = "") -> bool:
        """Write a manifest under its digest or a tag; return whether the registry has taken note of its subject.

        While another push writes the same documents, a registry may miss one that it has: CNCF distribution before 3.1
        empties the file that links a repository to a blob before it writes it anew (`PutContent` of the driver
        `filesystem`), and an empty one counts as MANIFEST_BLOB_UNKNOWN. So that answer is believed only when a second
        look says the same.

        Raises:
            RegistryError: the registry refuses it, or has kept something else.
        """
        name = digest(data)
        for attempt in range(1, _MANIFEST_TRIES + 1):
            try:
                answer = self.connection.send(
                    "PUT", f"{self.name}/manifests/{tag or name}", f"the manifest {tag or name} of {self.place}",
                    scopes=self.scopes, ok=(200, 201), headers={"Content-Type": media_type}, data=data,
                )  # fmt: skip
                break
            except RegistryError as error:
                if attempt == _MANIFEST_TRIES or not self._was_missed(data, error.answer):
                    raise
            self.connection.wait(random.uniform(0.5, 1) * min(1, 0.1 * 2**attempt))
        kept = answer.headers.get("Docker-Content-Digest", name)
        if kept != name:
            raise RegistryError(f"{self.place} keeps the manifest {name} as {kept}; it was changed on the way")
        return "OCI-Subject" in answer.headers

    def has_blob(self, name: str) -> bool:
        """Whether the repository has the blob `sha256:<hex>`."""
        return self._has("blobs", name)

    def mount(self, name: str, neighbour: str) -> str | None:
        """Take the blob from another repository of the registry; else return where its upload may begin.

        Raises:
            RegistryError: the registry fails.
        """
        answer = self.connection.send(
            "POST", with_query(f"{self.name}/blobs/uploads/", mount=name, **{"from": neighbour}),
            f"the blob {name} of {self.place}", scopes=(*self.scopes, f"repository:{neighbour}:pull"), ok=(201, 202),
        )  # fmt: skip
        return None if answer.status_code == 201 else self.connection.location(answer)

    def read_blob(self, name: str) -> bytes:
        """The content of a small blob (a config, an attached file), verified.

        Raises:
            RegistryError: it is not there, too large, or not what its digest says.
        """
        what = f"the blob {name} of {self.place}"
        return self._document(f"{self.name}/blobs/{name}", what, ok=(200,), expected=name, limit=8 * _MAX_DOCUMENT)[1]

    def put_blob(self, data: bytes) -> str:
        """Upload a small blob unless it is there; return its digest."""
        name = digest(data)
        if self.has_blob(name):
            return name
        what = f"the blob {name} of {self.place}"
        begun = self.connection.send("POST", f"{self.name}/blobs/uploads/", what, scopes=self.scopes, ok=(202,))
        self.connection.send(
            "PUT", with_query(self.connection.location(begun), digest=name), what, scopes=self.scopes, ok=(201,),
            headers={"Content-Type": "application/octet-stream"}, data=data,
        )  # fmt: skip
        return name

    def attach(self, artifacts: Sequence[Artifact], subject: bytes) -> None:
        """Let `artifacts` refer to the image whose manifest (or index) is `subject`.

        Registries without the referrers API get an index under the tag `sha256-<hex>` (OCI distribution
        specification, "Referrers Tag Schema").
        """
        if not artifacts:
            return
        self.connection.in_parallel(self.put_blob, list({_EMPTY, *(each.data for each in artifacts)}))

        def put(artifact: Artifact) -> dict[str, Any] | None:
            data = _artifact_manifest(artifact, subject)
            return None if self.put_manifest(data, MANIFEST_TYPE) else _descriptor(data)

        unlisted = [each for each in self.connection.in_parallel(put, artifacts) if each is not None]
        if unlisted:
            self._list_by_tag(unlisted, digest(subject))

    def referrers(self, subject: str) -> list[dict[str, Any]]:
        """The descriptors of all manifests that refer to the manifest `subject`."""
        place = f"{self.name}/referrers/{subject}"
        found: list[dict[str, Any]] = []
        for _ in range(_MAX_PAGES):
            what = f"what refers to {self.place}@{subject}"
            answer, data = self._document(place, what, ok=(200, 400, 404, 405, 501), accept=INDEX_TYPE)
            if answer.status_code != 200:
                return self._listed_by_tag(subject)
            found += _manifests(data, what)
            following = answer.links.get("next", {}).get("url")
            if not following:
                break
            try:
                place = urljoin(answer.url, following)
            except ValueError:
                raise RegistryError(f"{what} goes on at {following!r}, which is no address; refused") from None
        return found

    def artifact(self, descriptor: dict[str, Any]) -> tuple[str, bytes] | None:
        """Name and content of the one file of an artifact; `None` when it is not of that shape."""
        name = descriptor.get("digest")
        manifest = self.manifest(name) if is_digest(name) and isinstance(name, str) else None
        if manifest is None:
            return None
        try:
            (layer,) = manifest.document["layers"]
            title, blob = layer["annotations"]["org.opencontainers.image.title"], layer["digest"]
        except (ValueError, KeyError, TypeError):
            return None
        if not is_digest(blob) or not isinstance(title, str):
            return None
        return title, self.read_blob(blob)

    def _was_missed(self, manifest: bytes, answer: str) -> bool:
        """Whether the registry says of something that `manifest` lists that it is not there, and it is."""
        listed = _listed(manifest)
        named = [each for each in listed if each[1] in answer]
        return _BLOB_UNKNOWN in answer and all(self._has(*each) for each in named or listed)

    def _has(self, kind: str, name: str) -> bool:
        """Whether the repository has `name` among its `blobs` or `manifests`."""
        answer = self.connection.send(
            "HEAD", f"{self.name}/{kind}/{name}", f"{kind}/{name} of {self.place}", scopes=self.scopes, ok=(200, 404),
            headers={"Accept": ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))} if kind == "manifests" else None,
        )  # fmt: skip
        return answer.status_code == 200

    def _document(
        self, place: str, what: str, *, ok: Collection[int], expected: str = "", accept: str = "*/*",
        limit: int = _MAX_DOCUMENT,
    ) -> "tuple[requests.Response, bytes]":  # fmt: skip
        """A document with the digest `expected`, or the one that the registry names; asked for again when it is not.

        Raises:
            RegistryError: it is too large, or it never arrives whole.
        """
        problem = ""
        for attempt in range(1, self.connection.patience.tries + 1):
            answer = self.connection.send(
                "GET", place, what, scopes=self.scopes, ok=ok, stream=True, headers={"Accept": accept}
            )
            with answer:
                try:
                    data = _read(answer, what, limit)
                except _Cut as error:
                    problem = str(error)
                else:
                    wanted = expected if is_digest(expected) else answer.headers.get("Docker-Content-Digest", "")
                    if answer.status_code != 200 or not is_digest(wanted) or digest(data) == wanted:
                        return answer, data
                    problem = f"it arrived with the digest {digest(data)}, expected {wanted}: it was damaged"
            self.connection.wait(0.2 * 2**attempt)
        raise RegistryError(f"{what}: {problem}; the same command goes on later")

    def _listed_by_tag(self, subject: str) -> list[dict[str, Any]]:
        index = self.manifest(subject.replace(":", "-"))
        return _manifests(index.data, f"the referrers of {self.place}@{subject}") if index else []

    def _list_by_tag(self, descriptors: Sequence[dict[str, Any]], subject: str) -> None:
        """Add to the index under the tag. Whoever has read it before us and writes it after us overwrites ours: look
        again when that is over.
        """
        for _ in range(_FALLBACK_TRIES):
            listed = {each.get("digest"): each for each in self._listed_by_tag(subject)}
            if all(each["digest"] in listed for each in descriptors):
                return
            listed.update({each["digest"]: each for each in descriptors})
            manifests = [listed[name] for name in sorted(listed, key=str)]
            index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}
            self.put_manifest(to_json(index), INDEX_TYPE, subject.replace(":", "-"))
            self.connection.wait(random.uniform(1, 2) * _FALLBACK_PAUSE)
        listed_now = {each.get("digest") for each in self._listed_by_tag(subject)}
        if not all(each["digest"] in listed_now for each in descriptors):
            raise RegistryError(f"others keep writing what refers to {self.place}@{subject}; push again")


def with_query(url: str, **parameters: str) -> str:
    """`url` with `parameters` added to its query."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"


def _artifact_manifest(artifact: Artifact, subject: bytes) -> bytes:
    return to_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": artifact.artifact_type,
            "config": {"mediaType": _EMPTY_TYPE, "digest": digest(_EMPTY), "size": len(_EMPTY)},
            "layers": [
                {
                    "mediaType": artifact.media_type,
                    "digest": digest(artifact.data),
                    "size": len(artifact.data),
                    "annotations": {"org.opencontainers.image.title": artifact.name},
                }
            ],
            "subject": {"mediaType": json.loads(subject)["mediaType"], "digest": digest(subject), "size": len(subject)},
            "annotations": dict(artifact.annotations),
        }
    )


def _listed(manifest: bytes) -> list[tuple[str, str]]:
    """What a manifest or index cannot be without: kind and digest."""
    document = json.loads(manifest)
    blobs = [*([document["config"]] if "config" in document else []), *document.get("layers", ())]
    below = [("manifests", str(each["digest"])) for each in document.get("manifests", ())]
    return [*(("blobs", str(each["digest"])) for each in blobs), *below]


def _descriptor(manifest: bytes) -> dict[str, Any]:
    document = json.loads(manifest)
    return {
        "mediaType": MANIFEST_TYPE,
        "digest": digest(manifest),
        "size": len(manifest),
        "artifactType": document["artifactType"],
        "annotations": document["annotations"],
    }


class _Cut(Exception):
    """An answer that ended too early."""


def _read(answer: "requests.Response", what: str, limit: int) -> bytes:
    import requests

    data = bytearray()
    try:
        for piece in answer.iter_content(1 << 16):
            data += piece
            if len(data) > limit:
                raise RegistryError(f"{what} is larger than {limit} bytes; no document of an image is: refused")
    except requests.RequestException as error:
        raise _Cut(what_broke(error)) from None
    return bytes(data)


def _manifests(data: bytes, what: str) -> list[dict[str, Any]]:
    try:
        listed = json.loads(data).get("manifests") or []
        return [each for each in listed if isinstance(each, dict)]
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise RegistryError(f"{what} is no image index; ask who runs the registry") from None


def _media_type(data: bytes, header: str, what: str) -> str:
    try:
        document = json.loads(data)
        stated = document.get("mediaType")
    except (ValueError, AttributeError, RecursionError):
        raise RegistryError(f"{what} is no manifest but something else; check the name") from None
    return stated if isinstance(stated, str) else header.partition(";")[0].strip()
