"""One package in, one piece of an image out: a folder tree that holds exactly what the package brings.

A piece is a pure function of (package sha256, prefix, packer version) and, for packages that adapt to the Python of
the environment (noarch python and wheels), of that Python's own package. It is made without conda, root, or scripts:
the archive is streamed straight into the tree, build prefixes are replaced as `info/paths.json` says, modes and times
are normalised. Links are made last, so no path of a hostile archive can lead through one.
"""

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import PackageError

from ..layers.tar_reader import FOLDER, HARD_LINK, REGULAR, SYMBOLIC_LINK, Member, TarReader
from ..plan import PREFIX
from .package import Package, PackagePath, checked_link, checked_path
from .package_archive import FILES, open_package

PACKER_VERSION = 2
"""Part of every piece's key: raise it whenever the same package would give other bytes."""

_SHEBANG_LIMIT = 127
"""Bytes; the Linux kernel cuts a longer `#!` line (and conda then writes `#!/usr/bin/env`)."""
_WHEEL_TIME = 315532800
"""1980-01-01, the earliest time that a zip file can hold: a wheel's own times depend on who built it."""

_ENTRY_POINT = """#!{prefix}/bin/python
import re
import sys

from {module} import {name}

if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw?|\\.exe)?$", "", sys.argv[0])
    sys.exit({function}())
"""


@dataclass(frozen=True)
class Python:
    """The Python that an environment's noarch packages and wheels adapt to."""

    minor: str
    """`3.11`."""
    sha256: str
    """Of its package: compiled code depends on the exact interpreter."""
    runs: bool = True
    """Whether this machine can execute it; if not, nothing is compiled with it."""

    @property
    def site_packages(self) -> str:
        """Relative to the prefix."""
        return f"lib/python{self.minor}/site-packages"


def adapts_to_python(package: Package) -> bool:
    """Whether the piece depends on the environment's Python."""
    return package.kind in ("noarch-python", "wheel")


def piece_key(package: Package, python: Python | None) -> str:
    """The sha256 (hex) under which the piece of `package` is kept."""
    adapted_to = python if python and adapts_to_python(package) else None
    return _key(package.locked.sha256, adapted_to.sha256 if adapted_to else None, not adapted_to or adapted_to.runs)


def possible_piece_keys(package: str, python: str | None) -> tuple[str, ...]:
    """The keys that a piece can have, where only the sha256 of its package and of the Python beside it are known."""
    return _key(package, None, True), _key(package, python, True), _key(package, python, False)


def _key(package: str, python: str | None, compiled: bool) -> str:
    ingredients: dict[str, object] = {
        "package": package,
        "prefix": PREFIX,
        "packer_version": PACKER_VERSION,
        "python": python,
    }
    if not compiled:
        ingredients["compiled"] = False
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def unpack(package: Package, tree: Path, python: Python | None) -> None:
    """Write the piece of `package` into the empty folder `tree`, with paths from the image's root.

    Compiled code of noarch packages and wheels is not made here (`compile.py`), because that runs their Python.

    Raises:
        PackageError: the archive is damaged, unpacks to far too much, or holds a path, link or entry that is refused.
        OSError: the disk is full.
    """
    if adapts_to_python(package) and python is None:
        raise PackageError(f"{package.locked.filename} needs Python, but the lock holds no python package; add python")
    prefix = tree / PREFIX.lstrip("/")
    prefix.mkdir(parents=True)
    try:
        if package.kind == "wheel":
            assert python is not None
            _unpack_wheel(package, prefix, python)
        else:
            _unpack_conda(package, prefix, python)
    except (FileExistsError, NotADirectoryError) as error:
        name = os.path.relpath(error.filename, prefix) if error.filename else str(error)
        raise PackageError(
            f"{package.locked.filename} holds {name} twice, or as a file and a folder; refused"
        ) from None
    except PackageError:
        raise
    except Exception as error:  # every archive library has errors of its own; bz2's are an OSError that no system gave
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise PackageError(
            f"{package.locked.filename} is damaged ({str(error) or type(error).__name__}); "
            f"remove {package.file.parent} and register again to download it anew"
        ) from error
    _normalise_folders(tree)


def files_of(tree: Path) -> list[str]:
    """What a piece brings, relative to the prefix, sorted: the `files` of its `conda-meta` record."""
    prefix = str(tree / PREFIX.lstrip("/"))
    found = []
    for folder, folders, names in os.walk(prefix):
        relative = os.path.relpath(folder, prefix)
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        found += [os.path.normpath(os.path.join(relative, name)) for name in (*names, *links)]
    return sorted(found)


def _unpack_conda(package: Package, prefix: Path, python: Python | None) -> None:
    listed = {path.path: path for path in package.paths}
    made: set[str] = set()
    links: list[tuple[str, str]] = []
    with open_package(package.file, FILES) as archive:
        for member in archive:
            name = member.name.removeprefix("./").rstrip("/")
            if member.kind == FOLDER or not name or name == "info" or name.startswith("info/"):
                continue
            checked_path(name, package.locked.filename)
            target = _place(name, package, python)
            if member.kind == REGULAR:
                _write(prefix, target, archive, member, listed.get(name), made)
            elif member.kind == SYMBOLIC_LINK:
                links.append((target, checked_link(name, member.link, package.locked.filename)))
            elif member.kind == HARD_LINK:
                source = _place(checked_path(member.link.removeprefix("./"), package.locked.filename), package, python)
                _make_folder(prefix, target, made)
                try:
                    os.link(f"{prefix}/{source}", f"{prefix}/{target}")
                except FileNotFoundError:
                    raise PackageError(
                        f"{package.locked.filename} holds {name}, a hard link to {member.link}, which is no file of "
                        "it; refused"
                    ) from None
            else:
                raise PackageError(f"{package.locked.filename} holds {name}, a device or pipe; refused")
    if python and package.entry_points:
        _write_entry_points(package, prefix, made)
    _make_links(package, prefix, links, made)


def _place(name: str, package: Package, python: Python | None) -> str:
    """Where the path `name` of the archive belongs, relative to the prefix (conda: noarch python packages)."""
    if package.kind == "noarch-python" and python:
        if name.startswith("site-packages/"):
            return f"{python.site_packages}/{name.removeprefix('site-packages/')}"
        if name.startswith("python-scripts/"):
            return f"bin/{name.removeprefix('python-scripts/')}"
    return name


def _write(
    prefix: Path, target: str, archive: TarReader, member: Member, listed: PackagePath | None, made: set[str]
) -> None:
    if listed and listed.placeholder and target.endswith(".pyc"):
        return  # its strings carry their length: replacing would corrupt them, and the source is there
    _make_folder(prefix, target, made)
    mode = 0o755 if member.mode & 0o100 else 0o644
    descriptor = os.open(f"{prefix}/{target}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        if listed and listed.placeholder:
            _write_all(descriptor, replace_prefix(archive.read(), listed.placeholder, listed.binary))
        else:
            for piece in archive.content():
                _write_all(descriptor, piece)
        os.fchmod(descriptor, mode)
        mtime = max(0, member.mtime)
        os.utime(descriptor, (mtime, mtime))
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def replace_prefix(data: bytes, placeholder: str, binary: bool) -> bytes:
    """Replace the build prefix in a file's content (conda-build's documentation, "Making packages relocatable").

    In a binary file each C string that holds the placeholder keeps its length: NULs make up the difference. A first
    line that the kernel would cut becomes `#!/usr/bin/env`.
    """
    old, new = placeholder.encode(), PREFIX.encode()
    if not binary:
        replaced = data.replace(old, new)
        first, newline, rest = replaced.partition(b"\n")
        if first.startswith(b"#!") and len(first) > _SHEBANG_LIMIT:
            command = first[2:].strip().split(b" ")[0].rpartition(b"/")[2]
            return b"#!/usr/bin/env " + command + newline + rest
        return replaced
    out = bytearray(data)
    start = out.find(old)
    while start >= 0:
        end = out.find(b"\0", start)
        end = len(out) if end < 0 else end
        text = bytes(out[start:end]).replace(old, new)
        out[start:end] = text.ljust(end - start, b"\0")
        start = out.find(old, end)
    return bytes(out)


def _write_entry_points(package: Package, prefix: Path, made: set[str]) -> None:
    for line in package.entry_points:
        name, _, reference = (part.strip() for part in line.partition("="))
        module, _, function = (part.strip() for part in reference.partition(":"))
        target = f"bin/{name}"
        checked_path(target, package.locked.filename)
        if not all(part.isidentifier() for part in (*module.split("."), *function.split("."))) or "/" in name:
            raise PackageError(
                f"{package.locked.filename} has the entry point {line!r}; expected name = module:function"
            )
        _make_folder(prefix, target, made)
        file = prefix / target
        file.unlink(missing_ok=True)
        file.write_text(
            _ENTRY_POINT.format(prefix=PREFIX, module=module, name=function.split(".")[0], function=function)
        )
        file.chmod(0o755)
        os.utime(file, (package.timestamp, package.timestamp))


def _make_links(package: Package, prefix: Path, links: list[tuple[str, str]], made: set[str]) -> None:
    for path, _ in links:
        _make_folder(prefix, path, made)
    for path, target in links:
        try:
            os.symlink(target, prefix / path)
        except FileExistsError:
            raise PackageError(f"{package.locked.filename} holds {path} twice, once as a link; refused") from None


def _make_folder(prefix: Path, target: str, made: set[str]) -> None:
    folder = target.rpartition("/")[0]
    if folder and folder not in made:
        os.makedirs(prefix / folder, exist_ok=True)
        made.add(folder)


def _unpack_wheel(package: Package, prefix: Path, python: Python) -> None:
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    site = str(prefix / python.site_packages)
    destination = SchemeDictionaryDestination(
        {
            "purelib": site,
            "platlib": site,
            "scripts": str(prefix / "bin"),
            "data": str(prefix),
            "headers": str(prefix / "include" / f"python{python.minor}"),
        },
        interpreter=f"{PREFIX}/bin/python",
        script_kind="posix",
    )
    with WheelFile.open(package.file) as source:
        install(source, destination, additional_metadata={"INSTALLER": b"envbuild\n"})
    for folder, _, names in os.walk(prefix):
        for name in names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode):
                raise PackageError(f"{package.locked.filename} unpacks to {name}, which is no plain file; refused")
            os.chmod(path, 0o755 if status.st_mode & 0o100 else 0o644)
            os.utime(path, (_WHEEL_TIME, _WHEEL_TIME))


def _normalise_folders(tree: Path) -> None:
    """Give every folder mode 0755, whatever the umask is."""
    os.chmod(tree, 0o755)
    for folder, names, _ in os.walk(tree):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                os.chmod(path, 0o755)
