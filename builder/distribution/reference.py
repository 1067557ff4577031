"""`registry/repository[:tag][@digest]`, read strictly: no registry is assumed, no tag is made up."""

import ipaddress
import re
from dataclasses import dataclass

from envbuild.errors import InputError

_REGISTRY = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?")
_PORT = re.compile(r"^(?:\[.*\]|[^:]*):?")
"""What stands before the port."""
_MAX_PORT = 65535
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST = 255
"""Characters of `registry/repository` that registries and clients take (OCI distribution specification)."""


@dataclass(frozen=True)
class Reference:
    """A place in a registry (OCI distribution specification, "Pulling manifests")."""

    registry: str
    """`host[:port]`"""
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def place(self) -> str:
        """`registry/repository`"""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        return self.place + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """Read `registry/repository[:tag][@digest]`.

    Raises:
        InputError: a part is missing or has characters that registries do not take.
    """
    name, at, digest = text.partition("@")
    registry, slash, rest = name.partition("/")
    if not slash or not _is_registry(registry):
        raise InputError(f"{text!r} {_without_registry(text)}")
    if int(_PORT.sub("", registry) or 0) > _MAX_PORT:
        raise InputError(f"{registry!r} in {text!r} has no port of a machine: at most {_MAX_PORT}")
    repository, colon, tag = rest.partition(":")
    if not _REPOSITORY.fullmatch(repository):
        raise InputError(
            f"{repository!r} in {text!r} is no repository: lower-case letters, digits and single . _ - between them"
        )
    if len(registry) + 1 + len(repository) > _LONGEST:
        raise InputError(f"the name {registry}/{repository[:20]}... is too long: at most {_LONGEST} characters")
    if colon and not is_tag(tag):
        raise InputError(f"{tag!r} in {text!r} is no tag: letters, digits, '_', '.' and '-', at most 128")
    if at and not is_digest(digest):
        raise InputError(f"{digest!r} in {text!r} is no digest: write sha256: and 64 hexadecimal digits")
    return Reference(registry, repository, tag, digest)


def _is_registry(text: str) -> bool:
    """Whether `text` is a host, and no first part of a repository on Docker Hub."""
    return _REGISTRY.fullmatch(text) is not None and (bool(set(text) & set(".:")) or text == "localhost")


def _without_registry(text: str) -> str:
    """What is wrong with a reference that does not begin with a registry and a slash."""
    scheme, url, _ = text.partition("://")
    if url:
        return f"is a URL; write REGISTRY/REPOSITORY, without {scheme}://"
    if "/" not in text and _is_registry(text) and "." in text.partition(":")[0]:
        return f"names no repository; write {text}/REPOSITORY"
    example = f"for instance registry.example.org/team/{text.rpartition('/')[2] or 'image'}"
    if _REPOSITORY.fullmatch(text.partition("@")[0].partition(":")[0]):
        example += f", or docker.io/{text if '/' in text else f'library/{text}'} for one on Docker Hub"
    return f"does not begin with a registry; write REGISTRY/REPOSITORY, {example}"


def is_tag(text: str) -> bool:
    """Whether a registry takes `text` as a tag."""
    return _TAG.fullmatch(text) is not None


def is_digest(text: object) -> bool:
    """Whether `text` is `sha256:<hex>`."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def is_loopback(registry: str) -> bool:
    """Whether `host[:port]` is this machine, where plain http harms nobody."""
    host = registry.partition("]")[0].lstrip("[") if registry.startswith("[") else registry.partition(":")[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
