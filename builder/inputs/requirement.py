"""One requirement of pip, in one spelling: a name with versions (PEP 508), a URL, a repository or a path.

`Six >=1` is `six>=1`, `git+https://x/a.git@v1#egg=A` is `a @ git+https://x/a.git@v1`, `mypkg/[dev]` is `./mypkg[dev]`.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

Kind = Literal["index", "archive", "git", "path"]

_HASHES = re.compile(r"\s+--hash[= ]\s*(\S+)")
_HASH = re.compile(r"(sha256|sha384|sha512):[0-9a-f]+")
_OPTION = re.compile(r"\s(--[a-z][a-z-]*)")
_OWN_LINE = ("--index-url", "--extra-index-url", "--find-links", "--trusted-host", "--pre", "--no-binary")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_CONDA_EXPORT = re.compile(r"[A-Za-z0-9_.-]+=[^=\s]+=[^=\s]+")
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(.*)", re.DOTALL)
_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*@\s*(\S.*)", re.DOTALL)
_EXTRAS = re.compile(r"(.*?)(\[[A-Za-z0-9,._\s-]*\])?")
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tgz", ".tar.bz2")


@dataclass(frozen=True)
class Requirement:
    """What one line of a requirements file asks for."""

    kind: Kind
    name: str = ""
    """Normalised (PEP 503); may be empty where only the source itself tells."""
    extras: tuple[str, ...] = ()
    versions: str = ""
    """`>=1,<2`; of the kind `index` alone."""
    location: str = ""
    """A URL without fragment; `git+` URL with `@ref`; or a path beginning with `.`, from the environment file on."""
    subdirectory: str = ""
    marker: str = ""
    hashes: tuple[str, ...] = ()
    """`sha256:<hex>`, sorted; empty for any file."""

    @property
    def text(self) -> str:
        """The line, canonically, without its hashes."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        fragment = f"#subdirectory={self.subdirectory}" if self.subdirectory else ""
        if self.kind == "index":
            text = f"{self.name}{extras}{self.versions}"
        elif self.name:
            text = f"{self.name}{extras} @ {self.location}{fragment}"
        else:
            text = f"{self.location}{fragment}{extras}"
        return f"{text} ; {self.marker}" if self.marker else text

    @property
    def line(self) -> str:
        """The line, canonically; `parse_requirement` reads it back."""
        return " ".join((self.text, *(f"--hash={each}" for each in self.hashes)))


def parse_requirement(text: str) -> Requirement:
    """Read one requirement line, without comment.

    Raises:
        ValueError: with a sentence that says what is wrong.
    """
    text = " ".join(text.split())
    hashes = tuple(sorted({found.group(1) for found in _HASHES.finditer(f" {text}")}))
    for each in hashes:
        if not _HASH.fullmatch(each):
            raise ValueError(f"--hash={each} is no hash that protects; expected sha256:<hex>")
    bare = _HASHES.sub("", f" {text}").strip()
    option = _OPTION.search(bare)
    if option:
        own = "; write it on a line of its own, before" if option.group(1) in _OWN_LINE else ""
        raise ValueError(f"{option.group(1)} after a requirement is not supported; only --hash is{own}")
    variable = _VARIABLE.search(bare)
    if variable:
        raise ValueError(f"{variable[0]} is a variable of one machine; write what it stands for")
    found = _parse(bare)
    return replace(found, hashes=tuple(sorted({*hashes, *found.hashes})))


def _parse(text: str) -> Requirement:
    if text.startswith("git@"):
        raise ValueError(f"{text} is a repository; write it as git+https://... or git+ssh://...")
    named = _NAMED.fullmatch(text)
    location, marker = _split_marker(named[3] if named else text)
    kind = _kind(location)
    if kind == "index":
        return _from_index(text)
    name = _normalised(named[1]) if named else ""
    extras = _extras(named[2] or "") if named else ()
    if kind == "path":
        path, written = _EXTRAS.fullmatch(location).groups()  # type: ignore[union-attr]
        return Requirement("path", name, extras or _extras(written or ""), location=_path(path), marker=marker)
    url, _, fragment = location.partition("#")
    parts = {key: values[0] for key, values in parse_qs(fragment).items()}
    egg, written = _EXTRAS.fullmatch(parts.get("egg", "")).groups()  # type: ignore[union-attr]
    hashes = tuple(f"{key}:{value}" for key, value in parts.items() if key in ("sha256", "sha384", "sha512"))
    subdirectory = parts.get("subdirectory", "").strip("/")
    if ".." in subdirectory.split("/"):
        raise ValueError(f"the subdirectory {subdirectory!r} leads out of what {url.strip()} holds; refused")
    found = Requirement(
        kind,
        name or (_normalised(egg) if egg else ""),
        extras or _extras(written or ""),
        location=url.strip(),
        subdirectory=subdirectory,
        marker=marker,
        hashes=hashes,
    )
    if not found.name and kind == "archive" and url.endswith(".whl"):
        return replace(found, name=_normalised(url.rpartition("/")[2].split("-")[0]))
    return found


def _kind(location: str) -> Kind:
    scheme = urlsplit(location).scheme if "://" in location else ""
    if scheme.startswith("git+"):
        return "git"
    if re.match(r"(hg|svn|bzr)\+", location):
        raise ValueError(f"{location}: of repositories only git is supported; name an archive or a folder instead")
    if scheme in ("git", "ssh"):
        raise ValueError(f"{location} is a repository; write it as git+https://... or git+ssh://...")
    if scheme in ("http", "https"):
        return "archive"
    if location.startswith(("/", "~", "file:///")) or re.match(r"[A-Za-z]:\\", location):
        hint = (
            "; pip freeze writes such paths, pip list --format=freeze writes versions" if "file:///" in location else ""
        )
        raise ValueError(
            f"{location} is a path of one machine; use a path relative to the environment file, or a URL{hint}"
        )
    if location.startswith(".") or location.startswith("file:"):
        return "path"
    bare = location.split("[", maxsplit=1)[0].strip()
    if re.fullmatch(r"[\w./-]+", bare) and ("/" in bare or bare.endswith(_ARCHIVES)):
        return "path"
    if scheme:
        raise ValueError(f"{location}: the scheme {scheme} is unknown; expected https, http or git+https")
    return "index"


def _path(text: str) -> str:
    path = Path(text.removeprefix("file:").strip() or ".")
    shown = path.as_posix()
    return shown if shown.startswith(".") else f"./{shown}"


def _split_marker(text: str) -> tuple[str, str]:
    from packaging.markers import InvalidMarker, Marker

    location, semicolon, marker = re.sub(r"\s+;", " ;", text).partition(" ;")
    if not semicolon:
        return text.strip(), ""
    try:
        return location.strip(), str(Marker(marker.strip()))
    except InvalidMarker:
        raise ValueError(f"{marker.strip()!r} is no marker; expected for instance python_version < '3.12'") from None


def _extras(text: str) -> tuple[str, ...]:
    return tuple(sorted(_normalised(each.strip()) for each in text.strip("[]").split(",") if each.strip()))


def _from_index(text: str) -> Requirement:
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed

    try:
        parsed = Parsed(text)
    except InvalidRequirement:
        if _CONDA_EXPORT.fullmatch(text):
            raise ValueError(
                f"{text!r} is a package and build of conda (conda list --export), not of pip; write the list with "
                "conda list --explicit --sha256, or conda env export > environment.yml"
            ) from None
        match = _NAME.fullmatch(text)
        if match and re.match(r"=[^=]", match[2]):
            raise ValueError(f"{text!r}: pip compares with ==, not =; write {match[1]}={match[2]}") from None
        raise ValueError(f"{text!r} is no requirement that pip knows; expected for instance requests>=2.31") from None
    return Requirement(
        "index",
        _normalised(parsed.name),
        tuple(sorted(_normalised(each) for each in parsed.extras)),
        versions=str(parsed.specifier),
        marker=str(parsed.marker or ""),
    )


def _normalised(name: str) -> str:
    """A name as PEP 503 has it."""
    from packaging.utils import canonicalize_name

    found = str(canonicalize_name(name))
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", found):
        raise ValueError(f"{name!r} is no name of a package: it begins and ends with a letter or digit")
    return found
