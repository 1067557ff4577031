"""ELF files that are not what they should be are named, not guessed at."""

import struct
from pathlib import Path

import pytest

from envbuild.builder.channel import elf
from envbuild.errors import PackageError


def library(*symbols: tuple[bytes, int]) -> bytes:
    """A minimal ELF64 file: header, one dynamic symbol table of (name, section), its strings, two section headers."""
    strings, entries = b"\0", b""
    for name, section in symbols:
        entries += struct.pack("<IBBHQQ", len(strings), 1 << 4, 0, section, 0, 0)
        strings += name + b"\0"
    table = 64 + len(entries) + len(strings)
    header = (
        b"\x7fELF\x02\x01".ljust(0x28, b"\0") + struct.pack("<Q", table) + b"\0" * 10 + struct.pack("<HHH", 64, 2, 0)
    )
    symtab = struct.pack("<IIQQQQIIQQ", 0, 11, 0, 0, 64, len(entries), 1, 0, 8, 24)
    strtab = struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 64 + len(entries), len(strings), 0, 0, 1, 0)
    return header + entries + strings + symtab + strtab


def test_only_undefined_symbols_that_match_become_weak(tmp_path: Path) -> None:
    file = tmp_path / "lib.so"
    file.write_bytes(library((b"cuda_a", 0), (b"cuda_defined", 5), (b"other", 0)))
    assert elf.weaken(file, "^cuda") == ("cuda_a",)
    assert elf.weaken(file, "^cuda") == ()
    assert elf.weaken(file, "^other") == ("other",)


def test_what_is_not_elf_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "lib.so"
    file.write_text("GROUP ( libreal.so )")
    assert not elf.is_elf(file)
    with pytest.raises(PackageError, match=r"lib\.so is not a little-endian ELF64 file"):
        elf.weaken(file, "x")


def test_the_newest_glibc_symbol_is_required(tmp_path: Path) -> None:
    file = tmp_path / "lib.so"
    file.write_bytes(b"\0GLIBC_2.4\0GLIBC_2.28\0GLIBC_2.3.4\0GLIBC_PRIVATE\0")
    assert elf.glibc_requirement([file]) == "__glibc >=2.28,<3.0.a0"
    assert elf.glibc_requirement([]) == "__glibc >=2.17,<3.0.a0"
