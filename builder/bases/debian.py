"""Debian packages in, the tree of a base layer out: unpacked only, no maintainer script is run.

A `.deb` is an `ar` archive of two tars (deb(5)). What the scripts would have made (users, certificates, links) is
made here, so the tree is a pure function of the packages. `/bin`, `/sbin`, `/lib` become links into `/usr`, as
Debian 12 wants it. Manual pages and translations stay out; copyright files stay in.
"""

import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from envbuild.errors import BaseError

_USR = ("bin", "sbin", "lib", "lib64", "lib32", "libx32")
_LEFT_OUT = tuple(
    f"usr/share/{name}/"
    for name in ("man", "info", "locale", "lintian", "i18n", "bug", "menu", "doc-base", "bash-completion")
)
_FOLDERS = {"tmp": 0o1777, "var/tmp": 0o1777, "run": 0o755, "dev": 0o755, "proc": 0o755, "sys": 0o755, "home": 0o755}
_FOLDERS |= {"opt": 0o755, "mnt": 0o755, "root": 0o755, "etc": 0o755, "envbuild": 0o755, "opt/env": 0o755}
_FOLDERS |= {"home/envbuild": 0o1777}  # in a layer everything is root's, and the image's user needs a home to write to
_MAINTAINERS = ("usr/sbin/update-passwd",)
"""Programs that only maintainer scripts call, and that need libraries which the bases do not have."""
_MODES: dict[str, Literal["r:gz", "r:xz", "r:bz2"]] = {"gz": "r:gz", "xz": "r:xz", "bz2": "r:bz2"}
_ALTERNATIVES = {
    "usr/bin/mpirun": "mpirun.openmpi",
    "usr/bin/mpiexec": "mpiexec.openmpi",
    "usr/lib/x86_64-linux-gnu/libpsm_infinipath.so.1": "../libpsm1/libpsm_infinipath.so.1.16",
}
"""Links that update-alternatives(1) would make, each where its package is there."""
_USER = "envbuild:x:1000:1000:envbuild:/home/envbuild:/bin/bash\n"


def unpack_packages(files: Sequence[tuple[str, Path]], tree: Path) -> None:
    """Unpack `files` (package name, `.deb`) into the empty folder `tree`, and finish it.

    Raises:
        BaseError: a package is damaged, or holds a path or link that leaves the tree.
    """
    tree = tree.resolve()
    for name in _USR[:4]:
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    try:
        _unpack_all(files, tree)
        _finish(tree)
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise BaseError(f"the packages hold a file where a folder must be: {error.filename}; refused") from error
    for folder, _, _ in os.walk(tree):
        os.chmod(folder, _FOLDERS.get(os.path.relpath(folder, tree), 0o755))


def _unpack_all(files: Sequence[tuple[str, Path]], tree: Path) -> None:
    for name, file in sorted(files):
        try:
            _unpack(name, file, tree)
        except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError, KeyError) as error:
            raise BaseError(f"{file.name} is damaged ({error}); remove {file} and try again") from error


def _unpack(name: str, file: Path, tree: Path) -> None:
    parts = dict(_ar(file))
    if not {"control", "data"} <= {part.split(".")[0] for part in parts}:
        raise ValueError("it has no control.tar or no data.tar")
    for part, data in parts.items():
        if part.startswith("data.tar"):
            with _open_tar(part, data) as archive:
                for member in archive:
                    _place(name, archive, member, tree)
        elif part.startswith("control.tar"):
            with _open_tar(part, data) as archive:
                # where scanners of images without dpkg look for packages
                _write(_at(tree, f"var/lib/dpkg/status.d/{name}"), _content(archive, "./control"), 0o644, 0)


def _ar(file: Path) -> Iterator[tuple[str, bytes]]:
    """The members of an `ar` archive (ar(5))."""
    with file.open("rb") as archive:
        if archive.read(8) != b"!<arch>\n":
            raise ValueError("not an ar archive")
        while header := archive.read(60):
            size = int(header[48:58])
            data = archive.read(size)
            if size < 0 or len(data) != size:
                raise ValueError("it ends too early")
            yield header[:16].decode("ascii").strip().rstrip("/"), data
            archive.read(size & 1)


def _open_tar(part: str, data: bytes) -> tarfile.TarFile:
    if part.endswith(".zst"):
        import zstandard

        try:
            data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None
    compression = part.rpartition(".")[2]
    return tarfile.open(fileobj=io.BytesIO(data), mode=_MODES.get(compression, "r:"))


def _place(package: str, archive: tarfile.TarFile, member: tarfile.TarInfo, tree: Path) -> None:
    name = _inside(package, member.name)
    if not name or _left_out(name + "/" if member.isdir() else name):
        return
    path = _at(tree, name, follow=member.isdir())
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
    elif member.isreg():
        _write(path, _content(archive, member), 0o755 if member.mode & 0o100 else 0o644, int(member.mtime))
    elif member.issym():
        _refuse_climbing(package, name, member.linkname)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(member.linkname)
    elif member.islnk():
        source = _at(tree, _inside(package, member.linkname), follow=True)
        if not source.is_file():
            raise BaseError(f"the package {package} holds {name}, a hard link to nothing; refused")
        status = source.stat()
        _write(path, source.read_bytes(), status.st_mode & 0o777, int(status.st_mtime))
    else:
        raise BaseError(f"the package {package} holds {name}, a device or pipe; refused")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo | str) -> bytes:
    content = archive.extractfile(member)
    if content is None:
        raise ValueError(f"{member} is no file")
    return content.read()


def _inside(package: str, name: str) -> str:
    """The path relative to the tree, with `/bin` and the like in `/usr`."""
    name = name.removeprefix("./").rstrip("/")
    if name == ".":
        return ""
    if name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise BaseError(f"the package {package} holds the path {name!r}, which leaves the image; refused")
    return f"usr/{name}" if name.split("/")[0] in _USR else name


def _left_out(name: str) -> bool:
    return (
        name.startswith(_LEFT_OUT)
        or name in _MAINTAINERS
        or (name.startswith("usr/share/doc/") and not name.endswith("/copyright"))
    )


def _refuse_climbing(package: str, name: str, target: str) -> None:
    """A link may name the root of the image (`/etc`), but not climb above it."""
    if not target.startswith("/") and os.path.normpath(f"{os.path.dirname(name)}/{target}").startswith(".."):
        raise BaseError(f"the package {package} holds the link {name} -> {target}, which leaves the image; refused")


def _at(tree: Path, name: str, *, follow: bool = False) -> Path:
    """The path of `name` in `tree`, to be used at once; `follow` when a link there would be followed.

    Raises:
        BaseError: a link on the way leads out of the tree (an absolute one would mean this machine's files).
    """
    path = tree / name
    try:
        inside = (path if follow else path.parent).resolve().is_relative_to(tree)
    except (OSError, RuntimeError):  # a loop
        inside = False
    if not inside:
        raise BaseError(f"the packages hold {name!r} below a link that leaves the image; refused")
    return path


def _write(path: Path, data: bytes, mode: int, mtime: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        path.unlink()
    path.write_bytes(data)
    path.chmod(mode)
    os.utime(path, (mtime, mtime))


def _finish(tree: Path) -> None:
    """What the maintainer scripts would have made, as far as a container wants it."""
    for name in _FOLDERS:
        _at(tree, name, follow=True).mkdir(parents=True, exist_ok=True)
    passwd = _read(tree, "usr/share/base-passwd/passwd.master").replace("root:*:", "root:x:")
    group = _read(tree, "usr/share/base-passwd/group.master")
    texts = {
        "etc/passwd": passwd + _USER,
        "etc/group": group + "envbuild:x:1000:\n",
        "etc/nsswitch.conf": _read(tree, "usr/share/libc-bin/nsswitch.conf"),
        "etc/profile": _read(tree, "usr/share/base-files/profile"),
        "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "etc/hostname": "",
        "etc/resolv.conf": "",
        "etc/timezone": "Etc/UTC\n",
        "etc/ssl/certs/ca-certificates.crt": _certificates(tree),
    }
    for name, text in texts.items():
        _write(_at(tree, name), text.encode(), 0o644, 0)
    links = {"etc/localtime": "/usr/share/zoneinfo/Etc/UTC", "etc/mtab": "../proc/self/mounts"}
    links |= {"usr/bin/awk": "mawk", "usr/bin/which": "which.debianutils", "var/run": "/run", "var/lock": "/run/lock"}
    links |= {name: target for name, target in _ALTERNATIVES.items() if os.path.lexists((tree / name).parent / target)}
    for name, target in links.items():
        path = _at(tree, name)
        if path.is_dir() and not path.is_symlink():
            path.rmdir()  # base-files brings empty folders where its script makes links
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


def _read(tree: Path, name: str) -> str:
    path = _at(tree, name, follow=True)
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _certificates(tree: Path) -> str:
    names = sorted(str(file.relative_to(tree)) for file in (tree / "usr/share/ca-certificates").rglob("*.crt"))
    return "".join(_read(tree, name).rstrip("\n") + "\n" for name in names)
