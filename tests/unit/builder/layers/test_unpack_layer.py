"""A layer's tar becomes the tree that gives the same tar again; whatever would leave the tree is refused."""

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.builder.layers.layer import tree_digest, write_layer
from envbuild.builder.layers.unpack_layer import is_opaque, is_whiteout, unpack_layer
from envbuild.builder.sandbox.merge import merge_trees
from envbuild.errors import LayerError

LIMIT = 1 << 24


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    member.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return member


def tar(*members: tarfile.TarInfo) -> bytes:
    """A tar of `members`; a file's content is `x` as often as its size says."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return data.getvalue()


def unpack(data: bytes, tree: Path, max_size: int = LIMIT) -> int:
    tree.mkdir()
    return unpack_layer(io.BytesIO(data), tree, digest(data), max_size)


@pytest.fixture
def layer(tmp_path: Path) -> bytes:
    """The tar of a tree with everything that our own layers hold."""
    tree = tmp_path / "made"
    (tree / "opt/env/bin").mkdir(parents=True)
    (tree / "opt/env/bin/python").write_bytes(b"#!\n" * 1000)
    (tree / "opt/env/bin/python").chmod(0o755)
    (tree / "opt/env/bin/python3").symlink_to("python")
    (tree / "opt/env/absolute").symlink_to("/etc/localtime")
    (tree / "opt/env" / ("long" * 40)).write_bytes(b"")
    (tree / "opt/env/grün").write_text("é")
    os.utime(tree / "opt/env/grün", (1_600_000_000, 1_600_000_000))
    (tree / "tmp").mkdir()
    (tree / "tmp").chmod(0o1777)
    (tree / "opt/env/closed").mkdir(mode=0o555)
    pieces: list[bytes] = []
    write_layer(tree, lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


@pytest.mark.parametrize(
    "compress",
    [
        bytes,
        gzip.compress,
        zstandard.compress,
        lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]),
        lambda data: zstandard.compress(data[:1000]) + zstandard.compress(data[1000:]),
        lambda data: b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip" + zstandard.compress(data),
    ],
    ids=["tar", "gzip", "zstd", "gzip members", "zstd frames", "zstd skippable frame"],
)
def test_the_tree_gives_the_same_layer_again(layer: bytes, compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    size = unpack_layer(io.BytesIO(compress(layer)), tree, digest(layer), len(layer))
    assert (digest(layer), size) == (tree_digest(tree)[0], len(layer))


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda name: name not in (".", "..") and not name.startswith(".wh.") and len(name.encode()) < 255
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.tuples(NAMES, NAMES).map("/".join), st.binary(max_size=2000), max_size=8))
def test_any_tree_comes_back(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    made = tmp_path_factory.mktemp("made")
    for name, content in files.items():
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_bytes(content)
    pieces: list[bytes] = []
    write_layer(made, lambda piece: pieces.append(bytes(piece)))
    tree = tmp_path_factory.mktemp("tree") / "tree"
    unpack(b"".join(pieces), tree)
    assert tree_digest(tree) == tree_digest(made)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([entry("/etc/passwd")], "leaves the image"),
        ([entry("../up")], "leaves the image"),
        ([entry("a/../../up")], "leaves the image"),
        ([entry("a", tarfile.SYMTYPE, "/etc"), entry("a/passwd")], "as a folder and as something else"),
        ([entry("a", tarfile.SYMTYPE, ".."), entry("a/b/c")], "as a folder and as something else"),
        ([entry("a"), entry("a/b")], "as a folder and as something else"),
        ([entry("a", tarfile.DIRTYPE), entry("a", tarfile.SYMTYPE, "/etc")], "as a folder and as something else"),
        ([entry("a", tarfile.SYMTYPE, "/etc"), entry("a", tarfile.DIRTYPE)], "as a folder and as something else"),
        ([entry("a", tarfile.LNKTYPE, "/etc/passwd")], "leaves the image"),
        ([entry("a", tarfile.LNKTYPE, "../../etc/passwd")], "leaves the image"),
        ([entry("a", tarfile.SYMTYPE, "/etc"), entry("b", tarfile.LNKTYPE, "a/passwd")], "no file of that layer"),
        ([entry("a", tarfile.LNKTYPE, "absent")], "no file of that layer"),
        ([entry("a/.wh...")], "names no path"),
        ([entry("a/.wh.")], "names no path"),
        ([entry("", tarfile.SYMTYPE, "/etc")], "as a folder and as something else"),
    ],
)
def test_what_leaves_the_tree_is_refused(members: list[tarfile.TarInfo], reason: str, tmp_path: Path) -> None:
    (tmp_path / "up").write_text("mine")
    with pytest.raises(LayerError, match=reason):
        unpack(tar(*members), tmp_path / "tree")
    assert (tmp_path / "up").read_text() == "mine"


def test_a_later_entry_takes_the_place_of_a_link_and_does_not_write_through_it(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    unpack(tar(entry("a", tarfile.SYMTYPE, str(victim)), entry("a", size=3)), tmp_path / "tree")
    assert (victim.read_text(), (tmp_path / "tree/a").read_text()) == ("mine", "xxx")


def test_a_hard_link_shares_its_file(tmp_path: Path) -> None:
    unpack(tar(entry("d/a", size=3), entry("b", tarfile.LNKTYPE, "./d/a")), tmp_path / "tree")
    assert (tmp_path / "tree/b").samefile(tmp_path / "tree/d/a")


def test_devices_and_set_user_id_bits_stay_out(tmp_path: Path) -> None:
    program = entry("su", size=1)
    program.mode = 0o4755
    unpack(tar(entry("dev/null", tarfile.CHRTYPE), entry("pipe", tarfile.FIFOTYPE), program), tmp_path / "tree")
    assert sorted(each.name for each in (tmp_path / "tree").rglob("*")) == ["dev", "su"]
    assert (tmp_path / "tree/su").stat().st_mode & 0o7777 == 0o755


def test_a_layer_larger_than_announced_is_refused(tmp_path: Path) -> None:
    bomb = gzip.compress(tar(entry("zeros", size=10_000_000)))
    assert len(bomb) < 20_000
    (tmp_path / "tree").mkdir()
    with pytest.raises(LayerError, match="more than the 1000000 bytes that were announced"):
        unpack_layer(io.BytesIO(bomb), tmp_path / "tree", digest(bomb), 1_000_000)


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayerError, match="extended header of 2000000 bytes"):
        unpack(entry("x", tarfile.XHDTYPE, size=2_000_000).tobuf(tarfile.USTAR_FORMAT), tmp_path / "tree")


def test_a_layer_that_was_changed_is_named_by_both_digests(layer: bytes, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    changed = layer.replace(b"#!\n#!", b"#?\n#!", 1)
    with pytest.raises(LayerError, match=f"expected {digest(layer)}, it is {digest(changed)}"):
        unpack_layer(io.BytesIO(changed), tmp_path / "tree", digest(layer), LIMIT)


@pytest.mark.parametrize("part", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_a_layer_that_ends_early_is_damaged(
    layer: bytes, compress: Callable[[bytes], bytes], part: float, tmp_path: Path
) -> None:
    (tmp_path / "tree").mkdir()
    whole = compress(layer)
    with pytest.raises(LayerError, match="is damaged|not what was promised"):
        unpack_layer(io.BytesIO(whole[: int(len(whole) * part)]), tmp_path / "tree", digest(layer), LIMIT)


def test_whiteouts_hide_what_lies_below(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    unpack(tar(entry("etc/kept"), entry("etc/gone"), entry("old/a"), entry("old/b"), entry("away/x")), lower)
    unpack(tar(entry("etc/.wh.gone"), entry("old/.wh..wh..opq"), entry("old/new"), entry(".wh.away")), upper)
    assert is_whiteout((upper / "etc/gone").stat()) and is_opaque(str(upper / "old"))
    (tmp_path / "root").mkdir()
    merge_trees([lower, upper], tmp_path / "root")
    paths = sorted(str(each.relative_to(tmp_path / "root")) for each in (tmp_path / "root").rglob("*"))
    assert paths == ["etc", "etc/kept", "old", "old/new"]
    assert not any(stat.S_ISCHR(each.stat().st_mode) for each in (tmp_path / "root").rglob("*"))


@pytest.mark.parametrize("time", [float("inf"), 1e30, -1e30, 2**70])
def test_a_time_that_no_clock_shows_is_one_sentence(tmp_path: Path, time: float) -> None:
    member = entry("file")
    member.pax_headers = {"mtime": str(time)}
    with pytest.raises(LayerError, match="is damaged"):
        unpack(tar(member), tmp_path / "tree")


@pytest.mark.parametrize(
    "member",
    [
        entry("a/" * 3000 + "b"),
        entry("a/" * 200, tarfile.DIRTYPE),
        entry("b" * 300),
        entry("link", tarfile.SYMTYPE, "x" * 5000),
        entry("hard", tarfile.LNKTYPE, "x" * 5000),
    ],
)
def test_a_path_longer_than_any_file_system_has_is_one_sentence(tmp_path: Path, member: tarfile.TarInfo) -> None:
    with pytest.raises(LayerError, match="refused"):
        unpack(tar(member), tmp_path / "tree")
