"""Debian packages, honest and hostile, built by hand."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.builder.bases.debian import unpack_packages
from envbuild.builder.layers.layer import tree_digest
from envbuild.errors import BaseError


def deb(folder: Path, *members: tuple[str, bytes, str]) -> Path:
    """A `.deb` whose data part holds `members`: name, content, and where it links to (empty for a file)."""
    file = folder / "tool.deb"
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar": tar(("./control", b"Package: tool\n", "")),
        "data.tar": tar(*members),
    }
    content = b"!<arch>\n"
    for name, data in parts.items():
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) & 1)
        )
    file.write_bytes(content)
    return file


def tar(*members: tuple[str, bytes, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content, link in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), 0o4755, 1_700_000_000
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def unpacked(folder: Path, *members: tuple[str, bytes, str]) -> Path:
    tree = folder / "tree"
    tree.mkdir()
    unpack_packages([("tool", deb(folder, *members))], tree)
    return tree


def test_the_tree_of_a_small_package_has_its_golden_digest(
    tmp_path: Path, golden: Callable[[str, object], None]
) -> None:
    tree = unpacked(tmp_path, ("./bin/tool", b"#!/bin/sh\n", ""), ("./usr/bin/alias", b"", "tool"))
    golden("base of a small Debian package", list(tree_digest(tree)))


def test_bin_is_in_usr_and_setuid_bits_are_dropped(tmp_path: Path) -> None:
    tree = unpacked(tmp_path, ("./bin/tool", b"1", ""))
    assert (tree / "bin").readlink() == Path("usr/bin")
    assert (tree / "usr/bin/tool").stat().st_mode & 0o7777 == 0o755


def test_manuals_stay_out_and_copyright_stays_in(tmp_path: Path) -> None:
    tree = unpacked(
        tmp_path,
        ("./usr/share/man/man1/tool.1", b"1", ""),
        ("./usr/share/doc/tool/README", b"1", ""),
        ("./usr/share/doc/tool/copyright", b"1", ""),
    )
    assert [path.name for path in (tree / "usr/share/doc/tool").iterdir()] == ["copyright"]
    assert not (tree / "usr/share/man").exists()


def test_users_folders_and_the_package_s_record_are_there(tmp_path: Path) -> None:
    tree = unpacked(tmp_path, ("./bin/tool", b"1", ""))
    assert "envbuild:x:1000:1000:" in (tree / "etc/passwd").read_text()
    assert (tree / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (tree / "var/lib/dpkg/status.d/tool").read_text() == "Package: tool\n"


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ((("../outside", b"1", ""),), "leaves the image"),
        ((("./usr/../../outside", b"1", ""),), "leaves the image"),
        ((("./etc/link", b"", "/tmp"), ("./etc/link/file", b"1", "")), "below a link"),
    ],
)
def test_what_leaves_the_tree_is_refused(
    tmp_path: Path, members: tuple[tuple[str, bytes, str], ...], sentence: str
) -> None:
    with pytest.raises(BaseError, match=sentence):
        unpacked(tmp_path, *members)
    assert not (tmp_path / "outside").exists()


def test_a_damaged_package_is_a_sentence(tmp_path: Path) -> None:
    file = deb(tmp_path, ("./bin/tool", b"1", ""))
    file.write_bytes(b"not a package")
    (tmp_path / "tree").mkdir()
    with pytest.raises(BaseError, match="is damaged"):
        unpack_packages([("tool", file)], tmp_path / "tree")
