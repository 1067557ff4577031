"""Debian packages in, the tree of a base layer out: unpacked only, no maintainer script is run.

A `.deb` is an `ar` archive of two tars (deb(5)). What the scripts would have made (users, certificates, links) is
made here, so the tree is a pure function of the packages. `/bin`, `/sbin`, `/lib` become links into `/usr`, as
Debian 12 wants it. Manual pages and translations stay out; copyright files stay in.
"""

import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from envbuild.errors import BaseError

_USR = ("bin", "sbin", "lib", "lib64", "lib32", "libx32")
_LEFT_OUT = tuple(
    f"usr/share/{name}/"
    for name in ("man", "info", "locale", "lintian", "i18n", "bug", "menu", "doc-base", "bash-completion")
)
_FOLDERS = {"tmp": 0o1777, "var/tmp": 0o1777, "run": 0o755, "dev": 0o755, "proc": 0o755, "sys": 0o755, "home": 0o755}
_FOLDERS |= {"opt": 0o755, "mnt": 0o755, "root": 0o755, "etc": 0o755, "envbuild": 0o755, "opt/env": 0o755}
_USER = "envbuild:x:1000:1000:envbuild:/home/envbuild:/bin/bash\n"


def unpack_packages(files: Sequence[tuple[str, Path]], tree: Path) -> None:
    """Unpack `files` (package name, `.deb`) into the empty folder `tree`, and finish it.

    Raises:
        BaseError: a package is damaged, or holds a path or link that leaves the tree.
    """
    for name in _USR[:4]:
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    for name, file in sorted(files):
        try:
            _unpack(name, file, tree)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise BaseError(f"{file.name} is damaged ({error}); remove {file} and try again") from error
    _finish(tree)
    for folder, _, _ in os.walk(tree):
        os.chmod(folder, _FOLDERS.get(os.path.relpath(folder, tree), 0o755))


def _unpack(name: str, file: Path, tree: Path) -> None:
    for part, data in _ar(file):
        if part.startswith("data.tar"):
            with _open_tar(part, data) as archive:
                for member in archive:
                    _place(name, archive, member, tree)
        elif part.startswith("control.tar"):
            with _open_tar(part, data) as archive:
                control = archive.extractfile("./control")
                assert control is not None
                # where scanners of images without dpkg look for packages
                _write(tree / "var/lib/dpkg/status.d" / name, control.read(), 0o644, 0)


def _ar(file: Path) -> Iterator[tuple[str, bytes]]:
    """The members of an `ar` archive (ar(5))."""
    with file.open("rb") as archive:
        if archive.read(8) != b"!<arch>\n":
            raise ValueError("not an ar archive")
        while header := archive.read(60):
            size = int(header[48:58])
            yield header[:16].decode("ascii").strip().rstrip("/"), archive.read(size)
            archive.read(size & 1)


def _open_tar(part: str, data: bytes) -> tarfile.TarFile:
    if part.endswith(".zst"):
        import zstandard

        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return tarfile.open(fileobj=io.BytesIO(data))


def _place(package: str, archive: tarfile.TarFile, member: tarfile.TarInfo, tree: Path) -> None:
    name = _inside(package, member.name)
    if not name or _left_out(name + "/" if member.isdir() else name):
        return
    path = tree / name
    _refuse_escape(package, path, tree)
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
    elif member.isreg():
        content = archive.extractfile(member)
        assert content is not None
        _write(path, content.read(), 0o755 if member.mode & 0o100 else 0o644, int(member.mtime))
    elif member.issym():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(member.linkname)
    elif member.islnk():
        source = tree / _inside(package, member.linkname)
        _write(path, source.read_bytes(), source.stat().st_mode & 0o777, int(source.stat().st_mtime))
    else:
        raise BaseError(f"the package {package} holds {name}, a device or pipe; refused")


def _inside(package: str, name: str) -> str:
    """The path relative to the tree, with `/bin` and the like in `/usr`."""
    name = name.removeprefix("./").strip("/")
    if name == ".":
        return ""
    if ".." in name.split("/") or "\0" in name:
        raise BaseError(f"the package {package} holds the path {name!r}, which leaves the image; refused")
    return f"usr/{name}" if name.split("/")[0] in _USR else name


def _left_out(name: str) -> bool:
    return name.startswith(_LEFT_OUT) or (name.startswith("usr/share/doc/") and not name.endswith("/copyright"))


def _refuse_escape(package: str, path: Path, tree: Path) -> None:
    """No entry may be written through a link that leads out of the tree."""
    if not path.parent.resolve().is_relative_to(tree.resolve()):
        raise BaseError(f"the package {package} holds {path.name!r} below a link that leaves the image; refused")


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
        (tree / name).mkdir(parents=True, exist_ok=True)
    passwd = _read(tree / "usr/share/base-passwd/passwd.master").replace("root:*:", "root:x:")
    group = _read(tree / "usr/share/base-passwd/group.master")
    texts = {
        "etc/passwd": passwd + _USER,
        "etc/group": group + "envbuild:x:1000:\n",
        "etc/nsswitch.conf": _read(tree / "usr/share/libc-bin/nsswitch.conf"),
        "etc/profile": _read(tree / "usr/share/base-files/profile"),
        "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "etc/hostname": "",
        "etc/resolv.conf": "",
        "etc/timezone": "Etc/UTC\n",
        "etc/ssl/certs/ca-certificates.crt": _certificates(tree),
    }
    for name, text in texts.items():
        _write(tree / name, text.encode(), 0o644, 0)
    (tree / "home/envbuild").mkdir()
    links = {"etc/localtime": "/usr/share/zoneinfo/Etc/UTC", "etc/mtab": "../proc/self/mounts"}
    links |= {"usr/bin/awk": "mawk", "usr/bin/which": "which.debianutils", "var/run": "/run", "var/lock": "/run/lock"}
    for name, target in links.items():
        path = tree / name
        if path.is_dir() and not path.is_symlink():
            path.rmdir()  # base-files brings empty folders where its script makes links
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _certificates(tree: Path) -> str:
    files = sorted((tree / "usr/share/ca-certificates").rglob("*.crt"))
    return "".join(file.read_text(encoding="utf-8").rstrip("\n") + "\n" for file in files)
