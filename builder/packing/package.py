"""What a package file says about itself, read from its metadata without unpacking it.

A `.conda` or `.tar.bz2` file answers from its `info/` part (conda-build's documentation, "Conda package
specification"), a wheel from its `.dist-info` folder (PEP 427). Nothing here writes to disk.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from pathlib import Path, PurePosixPath
from typing import Any

from envbuild.errors import PackageError

from ..layers.layer import MAX_DEPTH
from ..layers.tar_reader import REGULAR
from ..lock import LockedPackage
from .package_archive import INFO, open_package
from .unpacked_size import MAX_METADATA, refuse_large_zip, too_large

_LINK_SCRIPTS = ("-post-link.sh", "-pre-link.sh")
"""In `bin/`, behind `.NAME` (conda-build's documentation, "Link scripts"). `pre-unlink` runs at removal: never here."""


@dataclass(frozen=True)
class PackagePath:
    """One path that a package brings, relative to the prefix, as `info/paths.json` lists it."""

    path: str
    is_link: bool = False
    size: int = 0
    """Bytes."""
    placeholder: str = ""
    """The build prefix written into the file, to be replaced by the real one; empty for none."""
    binary: bool = False


@dataclass(frozen=True)
class Package:
    """A downloaded package together with its metadata."""

    locked: LockedPackage
    file: Path
    kind: str
    """`conda` (for one platform or generic), `noarch-python`, or `wheel`."""
    timestamp: int
    """When it was built, in seconds since 1970; 0 when it does not say."""
    paths: tuple[PackagePath, ...]
    entry_points: tuple[str, ...] = ()
    """`name = module:function` of a noarch python package."""
    link_scripts: tuple[str, ...] = ()
    """Scripts that a conda client would run at installation."""
    license: str = ""
    build_number: int = 0
    depends: tuple[str, ...] = ()
    """Match specs, as the package states them."""

    @property
    def size(self) -> int:
        """Unpacked bytes."""
        return sum(path.size for path in self.paths)

    @property
    def is_python(self) -> bool:
        return self.locked.manager == "conda" and self.locked.name == "python"


def read_package(locked: LockedPackage, file: Path) -> Package:
    """Read the metadata of `file`.

    Raises:
        PackageError: the file is damaged, holds no metadata, unpacks to far too much, or names a path outside the
            prefix.
    """
    try:
        if file.name.endswith(".whl"):
            return _read_wheel(locked, file)
        return _read_conda(locked, file)
    except PackageError:
        raise
    except Exception as error:  # every archive library has errors of its own
        raise PackageError(
            f"{file.name} cannot be read as a package ({str(error) or type(error).__name__}); "
            f"remove {file.parent} and register again to download it anew"
        ) from error


def checked_path(path: str, package: str) -> str:
    """Return `path` when it stays inside the prefix and inside what a layer can hold.

    Raises:
        PackageError: it is absolute, climbs out with `..`, is deeper than any real one, or has the name of an OCI
            whiteout (`.wh.`, OCI image specification, layer.md), which would delete files of other layers.
    """
    parts = path.split("/")
    if not path or path.startswith("/") or ".." in parts or "\0" in path or "\\" in path:
        raise PackageError(f"package {package} holds the path {path!r}, which lies outside the environment; refused")
    if len(parts) > MAX_DEPTH:
        raise PackageError(
            f"package {package} holds {path[:80]!r}..., which lies in more than {MAX_DEPTH} folders; refused"
        )
    if any(part.startswith(".wh.") for part in parts):
        raise PackageError(
            f"package {package} holds the path {path!r}; names that begin with .wh. delete files; refused"
        )
    return path


def checked_link(path: str, target: str, package: str) -> str:
    """Return `target` when the symbolic link at `path` stays inside the prefix.

    Raises:
        PackageError: the link is absolute or climbs out.
    """
    depth = len(PurePosixPath(path).parts) - 1
    for part in target.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0 or target.startswith("/"):
            raise PackageError(
                f"package {package} holds the link {path!r} -> {target!r}, which leaves the environment; refused"
            )
    return target


def _read_conda(locked: LockedPackage, file: Path) -> Package:
    info = _info_files(file)
    index = _json(info, "info/index.json", file)
    link = _json(info, "info/link.json", file, {})
    noarch = index.get("noarch") == "python" or link.get("noarch", {}).get("type") == "python"
    paths = tuple(_package_path(entry, file.name) for entry in _json(info, "info/paths.json", file)["paths"])
    timestamp = int(index.get("timestamp", 0))
    return Package(
        locked=locked,
        file=file,
        kind="noarch-python" if noarch else "conda",
        # conda writes milliseconds; very old packages have seconds
        timestamp=timestamp // 1000 if timestamp > 253402300799 else timestamp,
        paths=paths,
        entry_points=tuple(link.get("noarch", {}).get("entry_points", ())),
        link_scripts=tuple(
            path.path for path in paths if path.path.startswith("bin/.") and path.path.endswith(_LINK_SCRIPTS)
        ),
        license=str(index.get("license") or ""),
        build_number=int(index.get("build_number") or 0),
        depends=tuple(str(each) for each in index.get("depends") or ()),
    )


def _info_files(file: Path) -> dict[str, bytes]:
    wanted = {"info/index.json", "info/paths.json", "info/link.json"}
    found: dict[str, bytes] = {}
    with open_package(file, INFO) as archive:
        for member in archive:
            if member.name in wanted and member.kind == REGULAR:
                if member.size > MAX_METADATA:
                    raise too_large(file, member.name, MAX_METADATA)
                found[member.name] = archive.read()
                if len(found) == len(wanted):
                    break
    return found


def _json(info: Mapping[str, bytes], name: str, file: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    if name in info:
        value = json.loads(info[name])
        if isinstance(value, dict):
            return value
    elif default is not None:
        return default
    raise PackageError(f"{file.name} has no usable {name}; it is not a conda package that envbuild can read")


def _package_path(entry: Mapping[str, Any], package: str) -> PackagePath:
    return PackagePath(
        path=checked_path(str(entry["_path"]), package),
        is_link=entry.get("path_type") == "softlink",
        size=0 if entry.get("path_type") == "softlink" else int(entry.get("size_in_bytes") or 0),
        placeholder=str(entry.get("prefix_placeholder") or ""),
        binary=entry.get("file_mode") == "binary",
    )


def _read_wheel(locked: LockedPackage, file: Path) -> Package:
    with zipfile.ZipFile(file) as archive:
        refuse_large_zip(archive, file)
        paths = tuple(
            PackagePath(checked_path(info.filename, file.name), size=info.file_size)
            for info in archive.infolist()
            if not info.is_dir()
        )
        metadata = next((name for name in archive.namelist() if name.endswith(".dist-info/METADATA")), None)
        if metadata is None:
            raise PackageError(f"{file.name} has no .dist-info/METADATA; it is not a wheel (PEP 427)")
        if archive.getinfo(metadata).file_size > MAX_METADATA:
            raise too_large(file, metadata, MAX_METADATA)
        headers = BytesParser().parsebytes(archive.read(metadata), headersonly=True)
    return Package(
        locked=locked,
        file=file,
        kind="wheel",
        timestamp=0,
        paths=paths,
        license=_wheel_license(headers),
    )


def _wheel_license(headers: Message) -> str:
    """The licence of a wheel: the SPDX expression (PEP 639), or what was written before there was one."""
    expression, older = str(headers.get("License-Expression") or ""), str(headers.get("License") or "").strip()
    if expression or (older and "\n" not in older and older != "UNKNOWN"):  # some paste the whole text there
        return expression or older
    classifiers = [str(each).rpartition(" :: ")[2] for each in headers.get_all("Classifier") or ()]
    return next((each for each in classifiers if "License" in each), "")
