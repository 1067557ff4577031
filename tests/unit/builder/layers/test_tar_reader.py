"""Tars as packagers write them, and as nobody should."""

import io
import tarfile
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.builder.layers.tar_reader import FOLDER, HARD_LINK, REGULAR, SYMBOLIC_LINK, Member, TarError, TarReader

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
LONG = "lib/" + "x" * 90 + "/" + "y" * 90
TOO_LONG = "z" * 300


class Trickle:
    """Gives a few bytes at a time, as decompressors may."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file = io.BytesIO(data)
        self._size = size

    def readinto(self, buffer: memoryview) -> int:
        return self._file.readinto(buffer[: self._size])


def entry(name: str, content: bytes = b"", kind: bytes = REGULAR, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.type, info.linkname, info.mtime = len(content), 0o640, kind, link, 1_700_000_000
    return info, content


def packed(entries: Sequence[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def read(data: bytes) -> list[tuple[Member, bytes]]:
    reader = TarReader(io.BytesIO(data))
    return [(member, reader.read()) for member in reader]


def names(data: bytes) -> list[str]:
    return [member.name for member, _ in read(data)]


@pytest.mark.parametrize("format", FORMATS)
def test_every_kind_of_member_is_read_in_every_format(format: str) -> None:
    entries = [
        entry("lib", kind=FOLDER),
        entry("lib/a", b"content"),
        entry("lib/b", kind=SYMBOLIC_LINK, link="a"),
        entry("lib/c", kind=HARD_LINK, link="lib/a"),
        entry(LONG, b"1"),
    ]
    assert read(packed(entries, FORMATS[format])) == [
        (Member("lib/", FOLDER, 0o640, 0, 1_700_000_000, ""), b""),
        (Member("lib/a", REGULAR, 0o640, 7, 1_700_000_000, ""), b"content"),
        (Member("lib/b", SYMBOLIC_LINK, 0o640, 0, 1_700_000_000, "a"), b""),
        (Member("lib/c", HARD_LINK, 0o640, 0, 1_700_000_000, "lib/a"), b""),
        (Member(LONG, REGULAR, 0o640, 1, 1_700_000_000, ""), b"1"),
    ]


@pytest.mark.parametrize("format", ["gnu", "pax"])
def test_names_and_links_longer_than_a_header_are_whole(format: str) -> None:
    entries = [entry(TOO_LONG, b"1"), entry("link", kind=SYMBOLIC_LINK, link=TOO_LONG), entry("after", b"2")]
    members = [member for member, _ in read(packed(entries, FORMATS[format]))]
    assert [(member.name, member.link) for member in members] == [(TOO_LONG, ""), ("link", TOO_LONG), ("after", "")]


def test_a_long_name_cut_behind_a_slash_is_still_a_file() -> None:
    name = "a" * 99 + "/" + "b" * 200
    assert [(member.name, member.kind) for member, _ in read(packed([entry(name)], tarfile.GNU_FORMAT))] == [
        (name, REGULAR)
    ]


def test_a_time_with_a_fraction_is_cut_to_seconds() -> None:
    info, content = entry("a")
    info.mtime = 1_700_000_000.75
    assert [member.mtime for member, _ in read(packed([(info, content)]))] == [1_700_000_000]


def test_content_that_is_not_asked_for_is_passed_over() -> None:
    assert [member.name for member in TarReader(io.BytesIO(packed([entry("a", b"x" * 5000), entry("b")])))] == [
        "a",
        "b",
    ]


def test_content_larger_than_the_buffer_comes_in_pieces() -> None:
    content = bytes(range(256)) * 10_000
    reader = TarReader(io.BytesIO(packed([entry("a", content)])))
    for _ in reader:
        pieces = [bytes(piece) for piece in reader.content()]
    assert len(pieces) > 2 and b"".join(pieces) == content


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1)


@given(st.lists(st.tuples(st.lists(NAMES, min_size=1).map("/".join), st.binary())), st.integers(1, 2000))
def test_it_reads_what_tarfile_reads(contents: list[tuple[str, bytes]], size: int) -> None:
    data = packed([entry(name, content) for name, content in contents])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = [(info.name, info.size, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]
    reader = TarReader(Trickle(data, size))
    assert [(member.name, member.size, reader.read()) for member in reader] == expected


@given(st.binary(max_size=2048), st.integers(0, 3000))
def test_whatever_is_changed_ends_in_members_or_a_tar_error(noise: bytes, place: int) -> None:
    data = bytearray(packed([entry("a", b"content"), entry(TOO_LONG, b"1")]))
    data[place : place + len(noise)] = noise
    with suppress(TarError):
        read(bytes(data))


@pytest.mark.parametrize("length", [0, 100, 512, 700, 1024])
def test_a_tar_that_stops_early_is_an_error(length: int) -> None:
    with pytest.raises(TarError, match="ends too early"):
        read(packed([entry("a", b"x" * 600)])[:length])


def changed(data: bytes, place: int, value: bytes) -> bytes:
    """`data` with other bytes in its first header, and the checksum that fits."""
    header = bytearray(data[:512])
    header[place : place + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


def test_a_header_that_was_changed_is_refused() -> None:
    data = bytearray(packed([entry("a")]))
    data[0] = ord("b")
    with pytest.raises(TarError, match="checksum"):
        read(bytes(data))


@pytest.mark.parametrize("field", [b"12x45678901\0", b"-0000000001\0", b"0_000000001\0"])
def test_a_size_that_is_no_octal_number_is_refused(field: bytes) -> None:
    with pytest.raises(TarError, match="something else than a number"):
        read(changed(packed([entry("a")]), 124, field))


def test_a_size_in_gnus_binary_form_is_read() -> None:
    data = changed(packed([entry("a", b"content")]), 124, b"\x80" + (7).to_bytes(11, "big"))
    assert read(data)[0][1] == b"content"


def test_an_extended_header_of_gigabytes_is_refused() -> None:
    with pytest.raises(TarError, match="an extended header of 1073741824 bytes"):
        read(changed(changed(packed([entry("a")]), 124, b"%011o\0" % (1 << 30)), 156, b"x"))


def test_an_extended_header_that_lies_about_its_length_is_refused() -> None:
    info, content = entry("a")
    info.pax_headers = {"comment": "x"}
    with pytest.raises(TarError, match="malformed"):
        read(packed([(info, content)]).replace(b"13 comment=x\n", b"99 comment=x\n"))


def test_a_sparse_file_is_refused() -> None:
    info, content = entry("a")
    info.pax_headers = {"GNU.sparse.major": "1"}
    with pytest.raises(TarError, match="sparse"):
        read(packed([(info, content)]))


def test_a_name_that_is_not_utf_8_keeps_its_bytes() -> None:
    assert names(changed(packed([entry("a")]), 0, b"\xff")) == ["\udcff"]


def test_a_folder_of_before_ustar_is_a_folder() -> None:
    data = changed(changed(packed([entry("old")]), 0, b"old/"), 156, b"\0")
    assert [member.kind for member, _ in read(data)] == [FOLDER]
