"""An explicit list (`conda list --explicit`) in: the URL of every package, with its hash.

# platform: linux-64
@EXPLICIT
https://host/channel/linux-64/python-3.11.2-0.conda#sha256:<hex>        (or #<md5>)
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from envbuild.errors import SpecError

from .text_file import Line, read_text

_MARK = "@EXPLICIT"
_MD5 = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_FILE = re.compile(r"([A-Za-z0-9_][\w.-]*)-([^-/]+)-([^-/]+)\.(conda|tar\.bz2)")


@dataclass(frozen=True)
class ExplicitPackage:
    """One line of the list; exactly one of the two hashes is there."""

    url: str
    name: str
    version: str
    build: str
    subdir: str
    sha256: str = ""
    md5: str = ""


@dataclass(frozen=True)
class ExplicitList:
    """The packages of one platform, in the order of the file."""

    platform: str
    packages: tuple[ExplicitPackage, ...]


def is_explicit(path: Path) -> bool:
    """Whether `path` is an explicit list rather than a requirements file."""
    try:
        return any(line.strip() == _MARK for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        return False


def read_explicit(path: Path) -> ExplicitList:
    """Read an explicit list.

    Raises:
        SpecError: a line is no package URL, has no hash, or the packages are of several platforms.
    """
    lines = [Line(path, number, text.strip()) for number, text in enumerate(read_text(path).splitlines(), 1)]
    packages: dict[str, ExplicitPackage] = {}
    for line in lines:
        if not line.text or line.text == _MARK or line.text.startswith("#"):
            continue
        package = _package(line)
        if package.name in packages and packages[package.name] != package:
            raise line.error(f"{package.name} stands in the list a second time; keep one")
        packages[package.name] = package
    if not packages:
        raise SpecError(f"{path} lists no packages; write it with conda list --explicit --sha256")
    declared = next((match[1] for line in lines if (match := re.match(r"#\s*platform:\s*(\S+)", line.text))), "")
    subdirs = sorted({package.subdir for package in packages.values()} - {"noarch"})
    if len(subdirs) > 1 or (declared and subdirs and subdirs != [declared]):
        raise SpecError(
            f"{path} mixes packages of {', '.join(sorted({*subdirs, declared} - {''}))}; a list has one platform"
        )
    return ExplicitList(declared or (subdirs[0] if subdirs else ""), tuple(packages.values()))


def _package(line: Line) -> ExplicitPackage:
    url, _, fragment = line.text.partition("#")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise line.error(f"{line.text!r} is no URL of a package: {error}") from None
    if parts.scheme not in ("http", "https", "file"):
        raise line.error(f"{line.text!r} is no URL of a package; a list holds https, http or file URLs only")
    # first split, then unquoted: a `%2F` is part of a name, and no name that is taken has one
    folders = [unquote(each) for each in parts.path.split("/")]
    match = _FILE.fullmatch(folders[-1])
    if match is None or len(folders) < 3:
        raise line.error(f"{folders[-1]!r} is no package; expected CHANNEL/SUBDIR/NAME-VERSION-BUILD.conda or .tar.bz2")
    sha256 = _SHA256.fullmatch(fragment)
    if not sha256 and not _MD5.fullmatch(fragment):
        raise line.error(
            f"{match[1]} has no hash, so what is downloaded could not be verified; write the list with "
            "conda list --explicit --sha256 (or --md5)"
        )
    return ExplicitPackage(
        url=url,
        name=match[1].lower(),
        version=match[2],
        build=match[3],
        subdir=folders[-2],
        sha256=sha256[1] if sha256 else "",
        md5="" if sha256 else fragment,
    )
