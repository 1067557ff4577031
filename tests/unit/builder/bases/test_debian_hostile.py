"""Debian packages of every shape: hostile and damaged ones are refused before anything outside the tree is touched."""

import gzip
import hashlib
import io
import lzma
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from envbuild.builder.bases.debian import unpack_packages
from envbuild.builder.layers.layer import tree_digest
from envbuild.errors import BaseError

MTIME = 1_700_000_000


def file(name: str, content: bytes = b"", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), mode, MTIME
    return info, content


def entry(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime = kind, target, 0o700, MTIME
    return info, b""


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, tarfile.DIRTYPE)


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, tarfile.SYMTYPE, target)


def tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def ar(*members: tuple[str, bytes]) -> bytes:
    data = b"!<arch>\n"
    for name, content in members:
        data += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        data += b"\n" * (len(content) & 1)
    return data


CONTROL = ("control.tar.xz", lzma.compress(tar(file("./control", b"Package: tool\nVersion: 1\n"))))


def deb(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    return ar(("debian-binary", b"2.0\n"), CONTROL, ("data.tar.xz", lzma.compress(tar(*entries))))


def unpack(tmp_path: Path, *packages: bytes, into: str = "tree") -> Path:
    tree = tmp_path / into
    tree.mkdir()
    files = []
    for number, data in enumerate(packages):
        path = tmp_path / f"tool{number or ''}.deb"
        path.write_bytes(data)
        files.append((path.stem, path))
    unpack_packages(files, tree)
    return tree


NOISE = tar(file("./x", hashlib.shake_128(b"noise").digest(90_000)))
"""A tar that does not compress."""

TOOL = deb(
    folder("./"),
    folder("./bin"),
    file("./bin/tool", b"#!/bin/sh\n", 0o4755),
    entry("./bin/same", tarfile.LNKTYPE, "./bin/tool"),
    link("./usr/share/tool", "../lib/tool"),
    file("./usr/share/doc/tool/copyright", b"free\n"),
    file("./usr/share/doc/tool/changelog.gz", b"long\n"),
    file("./usr/share/man/man1/tool.1.gz", b"long\n"),
    file("./usr/share/locale/de/tool.mo", b"lang\n"),
    file("./usr/share/ca-certificates/b.crt", b"B"),
    file("./usr/share/ca-certificates/a.crt", b"A\n\n"),
    file("./usr/share/base-passwd/passwd.master", b"root:*:0:0:root:/root:/bin/bash\n"),
    file("./usr/share/base-passwd/group.master", b"root:*:0:\n"),
)


def test_umask_and_time_zone_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tree_digest(unpack(tmp_path, TOOL))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    before = os.umask(0o077)
    try:
        second = tree_digest(unpack(tmp_path, TOOL, into="other"))
    finally:
        os.umask(before)
    assert second == first


def test_the_order_of_the_packages_changes_nothing(tmp_path: Path) -> None:
    for name, content in (("a", b"first"), ("b", b"second")):
        (tmp_path / f"{name}.deb").write_bytes(deb(file("./usr/bin/x", content)))
    files = [(name, tmp_path / f"{name}.deb") for name in "ab"]
    for tree, order in (("one", files), ("two", files[::-1])):
        (tmp_path / tree).mkdir()
        unpack_packages(order, tmp_path / tree)
        assert (tmp_path / tree / "usr/bin/x").read_bytes() == b"second"


def test_old_top_folders_are_links_into_usr(tmp_path: Path) -> None:
    tree = unpack(tmp_path, TOOL)
    assert {name: os.readlink(tree / name) for name in ("bin", "sbin", "lib", "lib64")} == {
        "bin": "usr/bin",
        "sbin": "usr/sbin",
        "lib": "usr/lib",
        "lib64": "usr/lib64",
    }
    assert (tree / "usr/bin/tool").read_bytes() == b"#!/bin/sh\n"


def test_set_user_id_bits_are_dropped_and_times_kept(tmp_path: Path) -> None:
    status = (unpack(tmp_path, TOOL) / "usr/bin/tool").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o755, MTIME)


def test_a_hard_link_becomes_a_file_of_its_own(tmp_path: Path) -> None:
    same = unpack(tmp_path, TOOL) / "usr/bin/same"
    assert (same.read_bytes(), same.stat().st_nlink) == (b"#!/bin/sh\n", 1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nenvbuild:x:1000:1000:envbuild:/home/envbuild:/bin/bash\n"),
        ("etc/group", "root:*:0:\nenvbuild:x:1000:\n"),
        ("etc/ssl/certs/ca-certificates.crt", "A\nB\n"),
        ("var/lib/dpkg/status.d/tool", "Package: tool\nVersion: 1\n"),
        ("etc/timezone", "Etc/UTC\n"),
    ],
)
def test_what_the_maintainer_scripts_would_have_made(tmp_path: Path, name: str, text: str) -> None:
    assert (unpack(tmp_path, TOOL) / name).read_text() == text


def test_mount_points_and_temporary_folders(tmp_path: Path) -> None:
    tree = unpack(tmp_path, TOOL)
    names = ("tmp", "var/tmp", "proc", "sys", "dev", "run", "opt/env", "home/envbuild")
    assert [oct(stat.S_IMODE((tree / name).lstat().st_mode)) for name in names] == [
        *["0o1777"] * 2,
        *["0o755"] * 5,
        "0o1777",
    ]


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("data.tar", bytes),
        ("data.tar.gz", gzip.compress),
        ("data.tar.xz", lzma.compress),
        ("data.tar.zst", zstandard.ZstdCompressor().compress),
        ("data.tar.xz/", lzma.compress),
    ],
)
def test_every_compression_of_deb_5_is_read(tmp_path: Path, name: str, compress: Callable[[bytes], bytes]) -> None:
    data = ar(("debian-binary", b"2.0\n"), CONTROL, (name, compress(tar(file("./usr/bin/x", b"content")))))
    assert (unpack(tmp_path, data) / "usr/bin/x").read_bytes() == b"content"


def test_an_absolute_link_means_the_root_of_the_image(tmp_path: Path) -> None:
    assert os.readlink(unpack(tmp_path, deb(link("./etc/zone", "/usr/share/zone"))) / "etc/zone") == "/usr/share/zone"


@pytest.mark.parametrize(
    "entries",
    [
        [file("/escaped")],
        [file("../escaped")],
        [file("./usr/../../escaped")],
        [link("./usr/up", "../../escaped")],
        [link("./usr/out", "OUTSIDE"), file("./usr/out/escaped")],
        [link("./usr/out", "OUTSIDE"), folder("./usr/out/escaped")],
        [link("./usr/out", "OUTSIDE"), folder("./usr/out")],
        [link("./usr/out", "OUTSIDE"), link("./usr/out/escaped", "x")],
        [link("./usr/loop", "loop"), file("./usr/loop/escaped")],
        [link("./secret", "OUTSIDE/secret"), entry("./usr/copy", tarfile.LNKTYPE, "./secret")],
        [entry("./usr/copy", tarfile.LNKTYPE, "./nowhere")],
        [entry("./usr/copy", tarfile.LNKTYPE, "../secret")],
        [entry("./dev/disk", tarfile.BLKTYPE)],
        [entry("./run/pipe", tarfile.FIFOTYPE)],
        [link("./etc", "OUTSIDE")],
        [link("./tmp", "OUTSIDE/escaped")],
        [link("./var", "OUTSIDE")],
        [link("./home", "OUTSIDE")],
        [link("./usr/share/base-passwd/passwd.master", "OUTSIDE/secret")],
        [link("./usr/share/ca-certificates/x.crt", "OUTSIDE/secret")],
        [folder("./usr/share/x"), file("./usr/share/x")],
        [file("./usr/share/x"), folder("./usr/share/x")],
        [file("./etc/passwd/x")],
    ],
)
def test_a_hostile_package_is_refused_and_nothing_outside_is_touched(
    tmp_path: Path, entries: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    for info, _ in entries:
        info.linkname = info.linkname.replace("OUTSIDE", str(outside))
    with pytest.raises(BaseError, match="refused|damaged"):
        unpack(tmp_path, deb(*entries))
    assert [each.name for each in outside.iterdir()] == ["secret"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["outside", "tool.deb", "tree"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>not found</html>",
        TOOL[:40],
        TOOL[:200],
        TOOL[:-30],
        ar(("debian-binary", b"2.0\n"), CONTROL),
        ar(("debian-binary", b"2.0\n"), ("data.tar.xz", lzma.compress(tar(file("./x"))))),
        ar(("control.tar.xz", lzma.compress(tar(file("./other")))), ("data.tar.xz", lzma.compress(tar()))),
        ar(("control.tar.xz", lzma.compress(tar(folder("./control")))), ("data.tar.xz", lzma.compress(tar()))),
        ar(CONTROL, ("data.tar.xz", b"not xz")),
        ar(CONTROL, ("data.tar.xz", lzma.compress(NOISE)[:60_000])),
        ar(CONTROL, ("data.tar.gz", gzip.compress(NOISE)[:60_000])),
        ar(CONTROL, ("data.tar.zst", b"not zstd")),
    ],
    ids=range(13),
)
def test_a_damaged_package_is_one_sentence_that_names_the_file(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BaseError, match=r"tool.deb is damaged \(.*\); remove .*tool.deb and try again"):
        unpack(tmp_path, data)
