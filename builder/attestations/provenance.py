"""How an image came to be, as an in-toto Statement v1 with the SLSA provenance v1 predicate.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and https://slsa.dev/spec/v1.0/provenance.
What was asked for is external, what envbuild decided is internal; every package is named by its sha256. When it was
built is left out (`environment.json` has it), so that the same build gives the same statement.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from envbuild import __version__

from .contents import Content

FILE_NAME = "provenance.json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
BUILD_TYPE = "https://envbuild.dev/build/v1"
"""A lock of conda packages and wheels, laid out as an OCI image on a base."""
BUILDER_ID = "https://envbuild.dev/builder/v1"


def make_provenance(
    name: str,
    image_digests: Sequence[str],
    request: Mapping[str, Any],
    build: Mapping[str, Any],
    base: Mapping[str, str],
    contents: Sequence[Content],
) -> bytes:
    """The statement about the images `image_digests`.

    `request` are the ingredients of the spec key, `build` those of the environment id, `base` has `name` and `digest`.
    """
    internal = {key: value for key, value in build.items() if key not in ("packages", "base")}
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": _digest(digest)} for digest in image_digests],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": request,
                "internalParameters": internal,
                "resolvedDependencies": [
                    {"name": base["name"], "digest": _digest(base["digest"]), "annotations": {"role": "base"}},
                    *(descriptor for content in contents for descriptor in _descriptors(content)),
                ],
            },
            "runDetails": {"builder": {"id": BUILDER_ID, "version": {"envbuild": __version__}}},
        },
    }
    return json.dumps(statement, indent=1, sort_keys=True).encode() + b"\n"


def _descriptors(content: Content) -> list[dict[str, object]]:
    """in-toto's ResourceDescriptors: the package; of a wheel that was built, its source and what the build had too."""
    source = content.built_from
    if source is None:
        return [_descriptor(content)]
    found = [_descriptor(content, "built wheel")]
    if source.url:
        digest = {"gitCommit": source.commit} if source.kind == "git" else {"sha256": source.sha256}
        where = {"uri": source.url, "digest": digest, "downloadLocation": source.url}
        found.append({"name": content.name, **where, "annotations": {"role": "source"}})
    return [*found, *(_descriptor(each, "build requirement") for each in source.requires)]


def _descriptor(content: Content, role: str = "") -> dict[str, object]:
    described: dict[str, object] = {"name": content.name, "uri": content.purl, "digest": {"sha256": content.sha256}}
    if content.url:
        described["downloadLocation"] = content.url
    return {**described, "annotations": {"role": role}} if role else described


def _digest(digest: str) -> dict[str, str]:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}
