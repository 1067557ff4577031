"""What pip has installed in a folder, from its own records: `.dist-info` and, in it, direct_url.json (PEP 610)."""

import json
import os
import re
from collections.abc import Collection
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from envbuild.errors import SpecError

from .requirement import Requirement


def installed_requirements(
    site_packages: Path, folder: Path, left_out: Collection[str] = ()
) -> tuple[list[Requirement], list[str]]:
    """What pip would have to install to give what `site_packages` holds, and what is to be said about it.

    `left_out` are normalised names of packages that come from elsewhere; paths are made relative to `folder`.

    Raises:
        SpecError: a package does not say where it came from in a way that can be repeated.
    """
    from packaging.utils import canonicalize_name

    found, notes = {}, []
    for distribution in distributions(path=[str(site_packages)]):
        if "Name" not in (distribution.metadata or ()):
            continue
        name = canonicalize_name(distribution.metadata["Name"])
        if name in left_out:
            continue
        try:
            origin = json.loads(distribution.read_text("direct_url.json") or "null")
            found[name] = _from_origin(name, origin, folder) if origin else _pinned(name, distribution)
            editable = bool(origin and origin.get("dir_info", {}).get("editable"))
        except (ValueError, AttributeError, TypeError, RecursionError):
            raise SpecError(f"{name} there has a damaged direct_url.json (PEP 610); install it again") from None
        if editable:
            notes.append(f"{name} is installed editable there; here it becomes a plain copy of its folder")
    return [found[name] for name in sorted(found)], notes


def _pinned(name: str, distribution: Distribution) -> Requirement:
    public, plus, local = distribution.version.partition("+")
    if not re.fullmatch(r"[\w.!-]+", public):
        raise SpecError(f"{name} there has the version {distribution.version!r}, which pip cannot ask for")
    return Requirement("index", name, versions=f"=={public}{plus}{local}")


def _from_origin(name: str, origin: dict[str, Any], folder: Path) -> Requirement:
    url, subdirectory = str(origin.get("url", "")), str(origin.get("subdirectory", ""))
    if "vcs_info" in origin:
        commit = origin["vcs_info"].get("commit_id", "")
        if origin["vcs_info"].get("vcs") != "git":
            raise SpecError(f"{name} was installed from {url}; of repositories only git is supported")
        return Requirement("git", name, location=f"git+{url}@{commit}", subdirectory=subdirectory)
    if url.startswith("file://"):
        path = os.path.relpath(unquote(urlsplit(url).path), folder.absolute())
        return Requirement("path", name, location=path if path.startswith(".") else f"./{path}")
    hashes = origin.get("archive_info", {}).get("hashes", {})
    sha256 = hashes.get("sha256") or origin.get("archive_info", {}).get("hash", "").removeprefix("sha256=")
    return Requirement(
        "archive", name, location=url, subdirectory=subdirectory, hashes=(f"sha256:{sha256}",) if sha256 else ()
    )
