"""The contents of an image in, its bill of materials out: CycloneDX 1.6 as JSON (https://cyclonedx.org/docs/1.6/json).

The same contents give the same bytes: the serial number follows from the image's digest and the time is the image's
own. Licences are given as packages state them: as SPDX where they are that, else as a name.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from envbuild import __version__

from .contents import Content

if TYPE_CHECKING:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import ExternalReference, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component

FILE_NAME = "sbom.cdx.json"

_NAMESPACE = uuid.UUID("5f0c6a0e-2f0e-5b0a-9d0b-1b8f3a6f4c11")
"""Of our serial numbers (RFC 9562, version 5): chosen once."""


def make_sbom(
    name: str, image_digest: str, created: int, properties: Mapping[str, str], contents: Sequence[Content]
) -> bytes:
    """The document for the image `image_digest`, which is called `name` and was created at `created` (since 1970)."""
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    hex_digest = image_digest.removeprefix("sha256:")
    image = Component(
        type=ComponentType.CONTAINER,
        name=name,
        version=image_digest,
        bom_ref=image_digest,
        purl=PackageURL("oci", None, name.lower(), image_digest),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=hex_digest)],
        properties=[Property(name=f"dev.envbuild.{key}", value=value) for key, value in sorted(properties.items())],
    )
    tool = Component(type=ComponentType.APPLICATION, name="envbuild", version=__version__, bom_ref="envbuild")
    licenses = LicenseFactory()
    components = {content.sha256: _component(content, licenses) for content in contents}
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, f"{name}@{image_digest}"),
        metadata=BomMetaData(component=image, timestamp=datetime.fromtimestamp(created, timezone.utc)),
        components=components.values(),
    )
    bom.metadata.tools.components.add(tool)
    _add_dependencies(bom, image, contents, components)
    text: str = JsonV1Dot6(bom).output_as_string(indent=1)
    return text.encode() + b"\n"


def _component(content: Content, licenses: "LicenseFactory") -> "Component":
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return Component(
        type=ComponentType.LIBRARY,
        name=content.name,
        version=content.version,
        bom_ref=f"{content.purl}#{content.sha256[:16]}",
        purl=PackageURL.from_string(content.purl),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=content.sha256)],
        licenses=[licenses.make_from_string(" ".join(content.license.split()))] if content.license.strip() else [],
        external_references=_references(content),
        properties=_properties(content),
    )


def _references(content: Content) -> "list[ExternalReference]":
    """Where a package is downloaded; of a wheel that was built, where its source is, with the source's own hash."""
    from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri

    source = content.built_from
    if source is not None and source.url:
        if source.kind == "git":  # what stands for a hash is the commit in its URL
            return [ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(source.url))]
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=source.sha256)]
        return [ExternalReference(type=ExternalReferenceType.SOURCE_DISTRIBUTION, url=XsUri(source.url), hashes=hashes)]
    if content.url:
        return [ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(content.url))]
    return []


def _properties(content: Content) -> "list[Property]":
    """What the format has no place for: that a wheel was built here, and the digest of a source that is no file."""
    from cyclonedx.model import Property

    source = content.built_from
    if source is None:
        return []
    found: dict[str, str] = {"dev.envbuild.built-from": source.kind}
    if source.kind != "sdist":
        found["dev.envbuild.source-content-sha256"] = source.sha256
    elif not source.url:
        found["dev.envbuild.source-sha256"] = source.sha256
    return [Property(name=name, value=value) for name, value in found.items()]


def _add_dependencies(
    bom: "Bom", image: "Component", contents: Sequence[Content], components: Mapping[str, "Component"]
) -> None:
    by_name: dict[tuple[str, str], list[Component]] = {}
    for content in contents:
        by_name.setdefault((content.kind, content.name), []).append(components[content.sha256])
    needed: set[str] = set()
    for content in contents:
        names = [(content.kind, name) for name in content.depends]
        below = [component for name in names for component in by_name.get(name, ())]
        needed.update(str(component.bom_ref.value) for component in below)
        bom.register_dependency(components[content.sha256], below)
    # the image depends on what nothing else in it needs; the rest follows from that
    roots = [component for component in components.values() if str(component.bom_ref.value) not in needed]
    bom.register_dependency(image, roots)
