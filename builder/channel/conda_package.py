"""Write a `.conda` package: the same tree gives the same bytes, and the same name.

The format is that of conda-package-streaming's `.conda` (CEP 35): a stored zip of `metadata.json` and two zstandard
tar files. Written by hand, because that library stamps the time into the file. The build string carries a hash of the
content, so a package that comes out differently has another file name, and no client's cache mixes the two up.
"""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .. import atomic

PLACEHOLDER = "/opt/conda_prefix" + "_placehold" * 7
"""Stands for the prefix in scripts. Under 127 characters: longer `#!` lines are rewritten by conda clients."""

_TIMESTAMP = 1_700_000_000
"""Seconds; every file and every package of a channel carries it, so that no build time enters the bytes."""

_LEVEL, _THREADS = 3, 2
"""zstandard's output does not depend on how many threads (from one up) write it; the number is fixed all the same."""


@dataclass(frozen=True)
class Package:
    """What a package says about itself (`info/index.json` and its neighbours)."""

    name: str
    version: str
    build: str
    """`{hash}` in it becomes `h` and seven digits of the content's hash."""
    subdir: str
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    build_number: int = 0
    noarch: str = ""
    """`python`, `generic` or nothing."""
    license: str = ""
    summary: str = ""
    purls: tuple[str, ...] = ()
    entry_points: tuple[str, ...] = ()
    """`name = module:function` of a noarch python package; clients write the scripts."""


def write_package(package: Package, tree: Path, channel: Path, advance: Callable[[int], None]) -> Path:
    """Pack `tree` into `channel/<subdir>/<name>-<version>-<build>.conda`; call `advance` with each file's bytes.

    Raises:
        OSError: the channel's disk is full or cannot be written.
    """
    paths = _scan(tree)
    index = _index(package)
    digest = hashlib.sha256(json.dumps([paths, index, package.entry_points], sort_keys=True).encode()).hexdigest()
    index["build"] = package.build.replace("{hash}", "h" + digest[:7])
    stem = f"{package.name}-{package.version}-{index['build']}"
    info: dict[str, Any] = {
        "about.json": {
            key: value for key, value in {"summary": package.summary, "license": package.license}.items() if value
        },
        "index.json": index,
        "paths.json": {"paths": paths, "paths_version": 1},
    }
    if package.noarch == "python":
        link: dict[str, Any] = {"type": "python"}
        if package.entry_points:
            link["entry_points"] = list(package.entry_points)
        info["link.json"] = {"noarch": link, "package_metadata_version": 1}
    target = channel / package.subdir / f"{stem}.conda"
    with atomic.new_file(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("metadata.json"), '{"conda_pkg_format_version": 2}')
        with _part(archive, f"pkg-{stem}.tar.zst") as tar:
            for entry in paths:
                tar.add(tree / entry["_path"], entry["_path"], recursive=False, filter=_normal)
                advance(entry["size_in_bytes"])
        with _part(archive, f"info-{stem}.tar.zst") as tar:
            for name, content in info.items():
                _add_json(tar, f"info/{name}", content)
    return target


def tree_size(tree: Path) -> int:
    """The bytes of all files in `tree`."""
    return sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())


def _scan(tree: Path) -> list[dict[str, Any]]:
    """The entries of `info/paths.json`."""
    files = {path.relative_to(tree).as_posix(): path for path in tree.rglob("*") if path.is_symlink() or path.is_file()}
    return [_path_entry(name, files[name]) for name in sorted(files)]


def _path_entry(name: str, path: Path) -> dict[str, Any]:
    data = path.read_bytes() if path.is_file() else b""
    entry: dict[str, Any] = {
        "_path": name,
        "path_type": "softlink" if path.is_symlink() else "hardlink",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_in_bytes": len(data),
    }
    if not path.is_symlink() and PLACEHOLDER.encode() in data:
        entry["prefix_placeholder"] = PLACEHOLDER
        entry["file_mode"] = "binary" if b"\0" in data else "text"
    return entry


def _index(package: Package) -> dict[str, Any]:
    index: dict[str, Any] = {
        "name": package.name,
        "version": package.version,
        "build_number": package.build_number,
        "depends": sorted(package.depends),
        "subdir": package.subdir,
        "timestamp": _TIMESTAMP * 1000,
    }
    if package.constrains:
        index["constrains"] = sorted(package.constrains)
    if package.license:
        index["license"] = package.license
    if package.purls:
        index["purls"] = list(package.purls)
    if package.noarch:
        index.update(noarch=package.noarch, arch=None, platform=None)
    else:
        machine = package.subdir.removeprefix("linux-")
        index.update(arch="x86_64" if machine == "64" else machine, platform="linux")
    return index


@contextmanager
def _part(archive: zipfile.ZipFile, name: str) -> Iterator[tarfile.TarFile]:
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(_LEVEL, threads=_THREADS)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as raw:
        stream: IO[bytes]
        with (
            compressor.stream_writer(raw, closefd=False) as stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            yield tar


def _normal(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """No owner, one time, and only the executable bit of the mode: the umask of this machine stays out."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = _TIMESTAMP
    member.mode = 0o777 if member.issym() else 0o755 if member.mode & 0o100 else 0o644
    if member.islnk():
        raise ValueError(f"{member.name} is a second hard link; the trees that are packed here have none")
    return member


def _add_json(tar: tarfile.TarFile, name: str, content: object) -> None:
    blob = json.dumps(content, indent=1, sort_keys=True).encode()
    member = _normal(tarfile.TarInfo(name))
    member.size = len(blob)
    tar.addfile(member, io.BytesIO(blob))
