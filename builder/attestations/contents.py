"""What an image is made of, each part with its package URL (purl), sha256 and licence: for SBOM and provenance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from envbuild.images.catalog import PinnedPackage

from ..lock import LockedPackage, without_credentials

if TYPE_CHECKING:
    from packageurl import PackageURL

_PUBLIC = ("http", "https", "git+http", "git+https", "git+ssh")


@dataclass(frozen=True)
class BuiltFrom:
    """The source of a wheel that no index has."""

    kind: Literal["sdist", "git", "folder"]
    url: str
    """Empty for what came from a folder of the building machine."""
    sha256: str
    """Hex: of a source distribution's file, else of what the source holds (`content_digest`), which only envbuild
    computes."""
    commit: str = ""
    requires: tuple["Content", ...] = ()
    """The wheels that the build had at hand."""


@dataclass(frozen=True)
class Content:
    """One package of an image."""

    kind: str
    """`conda`, `pypi` or `deb`: the type of its package URL."""
    name: str
    version: str
    purl: str
    """https://github.com/package-url/purl-spec"""
    sha256: str
    """Hex, of the package file; of what was built, of the wheel that came out."""
    license: str = ""
    """As the package states it; often, but not always, an SPDX expression."""
    url: str = ""
    """Where it was downloaded; empty for what was built, or came from a folder of the building machine."""
    depends: tuple[str, ...] = ()
    """Names of what it needs, of the same kind."""
    built_from: BuiltFrom | None = None


def locked_contents(packages: Iterable[LockedPackage], licenses: Mapping[str, str]) -> list[Content]:
    """What a lock brings; `licenses` are by the sha256 of the package. Sorted, each package once."""
    found = {package.sha256: _locked(package, licenses.get(package.sha256, "")) for package in packages}
    return sorted(found.values(), key=lambda each: (each.kind, each.name, each.sha256))


def base_contents(packages: Sequence[PinnedPackage], distribution: str) -> list[Content]:
    """What an embedded base brings; `distribution` is for instance `debian-12`. Sorted."""
    from packageurl import PackageURL

    return [
        Content(
            kind="deb",
            name=package.name,
            version=package.version,
            purl=PackageURL(
                "deb",
                distribution.partition("-")[0],
                package.name,
                package.version,
                {"arch": package.architecture, "distro": distribution},
            ).to_string(),
            sha256=package.sha256,
        )
        for package in sorted(packages, key=lambda each: each.name)
    ]


def _locked(package: LockedPackage, license: str) -> Content:
    from packageurl import PackageURL

    built_from = _built_from(package)
    if package.manager == "pip":
        purl = _wheel_purl(package, built_from)
    else:
        kind = "conda" if package.filename.endswith(".conda") else "tar.bz2"
        qualifiers = {
            "build": package.build, "channel": package.channel, "subdir": package.subdir, "type": kind,
        }  # fmt: skip
        purl = PackageURL("conda", None, package.name, package.version, qualifiers)
    return Content(
        kind="pypi" if package.manager == "pip" else "conda",
        name=package.name,
        version=package.version,
        purl=purl.to_string(),
        sha256=package.sha256,
        license=license,
        url="" if built_from else _public(package.url),
        depends=package.depends,
        built_from=built_from,
    )


def _wheel_purl(package: LockedPackage, built_from: BuiltFrom | None) -> "PackageURL":
    """What was built from a repository says so, and a folder's package has no business with PyPI's of that name."""
    from packageurl import PackageURL

    if built_from is not None and built_from.kind == "folder":
        return PackageURL("generic", None, package.name, package.version)
    if built_from is not None and built_from.kind == "git" and built_from.url:
        return PackageURL("pypi", None, package.name, package.version, {"vcs_url": built_from.url})
    return PackageURL("pypi", None, package.name, package.version)


def _built_from(package: LockedPackage) -> BuiltFrom | None:
    built = package.built
    if built is None:
        return None
    requires = tuple(
        _locked(LockedPackage("pip", each.name, each.version, each.url, each.sha256), "") for each in built.requires
    )
    if package.url.startswith("git+"):
        return BuiltFrom("git", _public(package.url), built.source_sha256, package.url.rpartition("@")[2], requires)
    if "://" in package.url:
        return BuiltFrom("sdist", _public(package.url), built.source_sha256, requires=requires)
    return BuiltFrom("folder", "", built.source_sha256, requires=requires)


def _public(url: str) -> str:
    """`url` where it means something elsewhere too, without credentials."""
    return without_credentials(url) if urlsplit(url).scheme in _PUBLIC else ""
