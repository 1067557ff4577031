"""The bytes of a layer are a pure function of its tree."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.builder.layers.layer import tree_digest, write_layer
from envbuild.errors import StoreError


def layer_bytes(tree: Path) -> bytes:
    out = bytearray()
    write_layer(tree, out.extend)
    return bytes(out)


def put(tree: Path, name: str, content: bytes = b"", mode: int = 0o644, mtime: int = 1_700_000_000) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    os.utime(path, (mtime, mtime))
    for folder in (path.parent, *path.parent.parents):
        if folder == tree.parent:
            break
        folder.chmod(0o755)


def test_digest_and_size_of_a_small_tree(tmp_path: Path) -> None:
    put(tmp_path, "opt/env/bin/tool", b"#!/bin/sh\n", 0o755)
    (tmp_path / "opt/env/bin/alias").symlink_to("tool")
    assert tree_digest(tmp_path) == ("sha256:16b3871379128d90adb2dc4885308d091957494b298f5b3ec8769841b34ca628", 4096)


def test_digest_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    put(tmp_path, "a/b", b"content")
    data = layer_bytes(tmp_path)
    assert tree_digest(tmp_path) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))


def test_python_s_tarfile_reads_what_we_write(tmp_path: Path) -> None:
    put(tmp_path, "opt/env/lib/data.txt", b"x" * 700)
    (tmp_path / "opt/env/lib/link").symlink_to("data.txt")
    members = tarfile.open(fileobj=io.BytesIO(layer_bytes(tmp_path))).getmembers()
    assert [(each.name, each.type, each.mode, each.mtime, each.size) for each in members] == [
        ("opt", tarfile.DIRTYPE, 0o755, 0, 0),
        ("opt/env", tarfile.DIRTYPE, 0o755, 0, 0),
        ("opt/env/lib", tarfile.DIRTYPE, 0o755, 0, 0),
        ("opt/env/lib/data.txt", tarfile.REGTYPE, 0o644, 1_700_000_000, 700),
        ("opt/env/lib/link", tarfile.SYMTYPE, 0o777, 0, 0),
    ]


@pytest.mark.parametrize("length", [99, 100, 101, 150, 255])
def test_long_names_survive(tmp_path: Path, length: int) -> None:
    name = f"{'d' * 60}/{'e' * 60}/{'f' * length}"
    put(tmp_path, name, b"1")
    names = tarfile.open(fileobj=io.BytesIO(layer_bytes(tmp_path))).getnames()
    assert names[-1] == name


def test_a_long_link_target_survives(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("t" * 200)
    member = tarfile.open(fileobj=io.BytesIO(layer_bytes(tmp_path))).getmember("link")
    assert member.linkname == "t" * 200


def test_names_beyond_ascii_survive(tmp_path: Path) -> None:
    put(tmp_path, "dir/ação-😀.txt", b"1")
    names = tarfile.open(fileobj=io.BytesIO(layer_bytes(tmp_path)), encoding="utf-8").getnames()
    assert names[-1] == "dir/ação-😀.txt"


def test_setuid_bits_and_owners_are_not_in_the_layer(tmp_path: Path) -> None:
    put(tmp_path, "tool", b"1", 0o4755)
    member = tarfile.open(fileobj=io.BytesIO(layer_bytes(tmp_path))).getmember("tool")
    assert (member.mode, member.uid, member.gid, member.uname, member.gname) == (0o755, 0, 0, "", "")


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="neither a file, a folder nor a link"):
        tree_digest(tmp_path)


@settings(max_examples=30, deadline=None)
@given(files=st.dictionaries(st.text("ab/.-", min_size=1, max_size=12), st.binary(max_size=3000), max_size=8))
def test_tarfile_reads_back_any_tree(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    tree = tmp_path_factory.mktemp("tree")
    written: dict[str, bytes] = {}
    for index, (name, content) in enumerate(sorted(files.items())):
        clean = f"{index}/" + "/".join(part for part in name.split("/") if part.strip("."))
        put(tree, clean + "x", content)
        written[clean + "x"] = content
    archive = tarfile.open(fileobj=io.BytesIO(layer_bytes(tree)))
    read = {member.name: archive.extractfile(member) for member in archive if member.isreg()}
    assert {name: content.read() for name, content in read.items() if content} == written
