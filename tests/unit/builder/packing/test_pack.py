"""Packages, honest and hostile, built by hand as conda builds them."""

import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from envbuild.builder.bases.base import Base
from envbuild.builder.image import Layer, make_image
from envbuild.builder.layers.layer import tree_digest
from envbuild.builder.lock import LockedPackage
from envbuild.builder.packing import package as package_module
from envbuild.builder.packing import unpacked_size
from envbuild.builder.packing.pack import Python, files_of, piece_key, replace_prefix, unpack
from envbuild.builder.packing.package import Package, read_package
from envbuild.builder.packing.pieces import build_layers
from envbuild.builder.plan import bin_of, plan_layers
from envbuild.builder.report import Silent, Task
from envbuild.errors import PackageError, PlanError
from envbuild.settings import Settings

HOLDER = "/opt/placehold_placehold_placehold"
PYTHON = Python("3.11", "p" * 64)


def member(
    name: str, content: bytes = b"", mode: int = 0o664, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.type, info.linkname, info.mtime = len(content), mode, kind, link, 1_700_000_000
    info.uid = info.gid = 1234
    info.uname = "builder"
    return info


def conda(
    folder: Path,
    files: Sequence[tuple[tarfile.TarInfo, bytes]],
    *,
    name: str = "tool",
    noarch: bool = False,
    placeholders: dict[str, str] | None = None,
    entry_points: Sequence[str] = (),
) -> Package:
    """A `.conda` file with `files`, read back as envbuild reads it."""
    stem = f"{name}-1.0-0"
    paths = [
        {
            "_path": info.name,
            "path_type": "softlink" if info.issym() else "hardlink",
            "size_in_bytes": len(data),
            **(
                {"prefix_placeholder": HOLDER, "file_mode": (placeholders or {})[info.name]}
                if info.name in (placeholders or {})
                else {}
            ),
        }
        for info, data in files
    ]
    index = {
        "name": name,
        "version": "1.0",
        "build": "0",
        "timestamp": 1_700_000_000_000,
        "noarch": "python" if noarch else None,
    }
    link = {"noarch": {"type": "python", "entry_points": list(entry_points)}} if noarch else {}
    info_files = {"info/index.json": index, "info/paths.json": {"paths": paths}, "info/link.json": link}
    path = folder / f"{stem}.conda"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        archive.writestr(f"pkg-{stem}.tar.zst", packed(files))
        documents = [(member(key, data := json.dumps(value).encode()), data) for key, value in info_files.items()]
        archive.writestr(f"info-{stem}.tar.zst", packed(documents))
    locked = LockedPackage("conda", name, "1.0", f"file://{path}", "a" * 64, build="0", subdir="linux-64")
    return read_package(locked, path)


def packed(files: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, data in files:
            archive.addfile(info, io.BytesIO(data))
    return zstandard.ZstdCompressor().compress(out.getvalue())


def honest(folder: Path) -> Package:
    script, binary = f"#!{HOLDER}/bin/python\n".encode(), b"\x7fELF" + HOLDER.encode() + b"/lib\0rest"
    return conda(
        folder,
        [
            (member("bin/tool", script, 0o775), script),
            (member("lib/libtool.so.1", binary), binary),
            (member("lib/libtool.so", kind=tarfile.SYMTYPE, link="libtool.so.1"), b""),
        ],
        placeholders={"bin/tool": "text", "lib/libtool.so.1": "binary"},
    )


def test_the_piece_of_a_package_has_its_golden_digest(tmp_path: Path, golden: Callable[[str, object], None]) -> None:
    (tmp_path / "tree").mkdir()
    unpack(honest(tmp_path), tmp_path / "tree", None)
    golden("piece of a small conda package", list(tree_digest(tmp_path / "tree")))


def test_a_small_environment_has_its_golden_digests(tmp_path: Path, golden: Callable[[str, object], None]) -> None:
    plan = plan_layers([honest(tmp_path)])
    layers = []
    for number, planned in enumerate(plan.layers):
        tree = tmp_path / str(number)
        tree.mkdir()
        unpack(planned.packages[0], tree, None)
        layers.append(Layer(*tree_digest(tree), str(number), planned.title, ()))
    image = make_image(layers, "linux-64", 1_700_000_000, {"A": "1"}, {"dev.envbuild.environment": "sha256:0"})
    golden("image of a small environment", {"config": image.config_digest, "manifest": image.digest})


def test_the_umask_does_not_show(tmp_path: Path) -> None:
    package = honest(tmp_path)
    digests = []
    for umask in (0o000, 0o077):
        tree = tmp_path / f"tree-{umask}"
        tree.mkdir()
        old = os.umask(umask)
        try:
            unpack(package, tree, None)
        finally:
            os.umask(old)
        digests.append(tree_digest(tree))
    assert digests[0] == digests[1]


def test_prefixes_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    unpack(honest(tmp_path), tmp_path / "tree", None)
    root = tmp_path / "tree/opt/env"
    assert (root / "bin/tool").read_bytes() == b"#!/opt/env/bin/python\n"
    binary = (root / "lib/libtool.so").read_bytes()
    assert binary.startswith(b"\x7fELF/opt/env/lib\0") and binary.endswith(b"\0rest")
    assert len(binary) == 4 + len(HOLDER) + len("/lib") + len(b"\0rest")


def test_a_long_first_line_goes_through_env() -> None:
    data = f"#!{HOLDER}/{'x' * 130}/perl -w\nrest".encode()
    assert replace_prefix(data, HOLDER, binary=False) == b"#!/usr/bin/env perl\nrest"


def test_noarch_python_is_placed_and_gets_its_commands(tmp_path: Path) -> None:
    package = conda(
        tmp_path,
        [(member("site-packages/tool/__init__.py"), b""), (member("python-scripts/old"), b"")],
        noarch=True,
        entry_points=["tool = tool.cli:main.run"],
    )
    (tmp_path / "tree").mkdir()
    unpack(package, tmp_path / "tree", PYTHON)
    assert files_of(tmp_path / "tree") == ["bin/old", "bin/tool", "lib/python3.11/site-packages/tool/__init__.py"]
    text = (tmp_path / "tree/opt/env/bin/tool").read_text()
    assert "from tool.cli import main\n" in text and "sys.exit(main.run())" in text


def test_only_adapting_packages_depend_on_the_python(tmp_path: Path) -> None:
    plain = conda(tmp_path, [(member("bin/a"), b"")], name="plain")
    noarch = conda(tmp_path, [(member("site-packages/a.py"), b"")], name="noarch", noarch=True)
    other = Python("3.11", "q" * 64)
    assert piece_key(plain, PYTHON) == piece_key(plain, other)
    assert piece_key(noarch, PYTHON) != piece_key(noarch, other)


@pytest.mark.parametrize(
    ("info", "sentence"),
    [
        (member("../outside"), "outside the environment"),
        (member("/etc/passwd"), "outside the environment"),
        (member("lib/../../outside"), "outside the environment"),
        (member("lib/.wh.secret"), "delete files"),
        (member("lib/link", kind=tarfile.SYMTYPE, link="/etc/passwd"), "leaves the environment"),
        (member("lib/link", kind=tarfile.SYMTYPE, link="../../etc"), "leaves the environment"),
        (member("lib/device", kind=tarfile.CHRTYPE), "a device or pipe"),
        (member("lib/pipe", kind=tarfile.FIFOTYPE), "a device or pipe"),
    ],
)
def test_what_leaves_the_prefix_is_refused(tmp_path: Path, info: tarfile.TarInfo, sentence: str) -> None:
    (tmp_path / "tree").mkdir()
    with pytest.raises(PackageError, match=sentence):
        unpack(conda(tmp_path, [(info, b"")]), tmp_path / "tree", None)
    assert not (tmp_path / "outside").exists()


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    files = [
        (member("lib/inner", kind=tarfile.SYMTYPE, link=".."), b""),
        (member("lib/inner/file"), b""),
    ]
    (tmp_path / "tree").mkdir()
    with pytest.raises(PackageError, match="twice, once as a link"):
        unpack(conda(tmp_path, files), tmp_path / "tree", None)


@pytest.mark.parametrize("second", ["lib/a", "lib/a/b"])
def test_one_path_cannot_be_two_things(tmp_path: Path, second: str) -> None:
    (tmp_path / "tree").mkdir()
    with pytest.raises(PackageError, match="holds lib/a.* twice, or as a file and a folder; refused"):
        unpack(conda(tmp_path, [(member("lib/a"), b""), (member(second), b"")]), tmp_path / "tree", None)


def test_a_truncated_package_is_a_sentence(tmp_path: Path) -> None:
    package = honest(tmp_path)
    package.file.write_bytes(package.file.read_bytes()[:-200])
    with pytest.raises(PackageError, match="register again to download it anew"):
        read_package(package.locked, package.file)


def test_a_script_at_installation_is_refused_by_name(tmp_path: Path) -> None:
    package = conda(tmp_path, [(member("bin/.tool-post-link.sh"), b"")])
    with pytest.raises(PlanError, match=r"tool-1.0-0.conda wants to run bin/.tool-post-link.sh"):
        plan_layers([package])


def test_a_path_below_another_package_s_link_is_refused(tmp_path: Path) -> None:
    link = conda(tmp_path, [(member("lib64", kind=tarfile.SYMTYPE, link="lib"), b"")], name="linker")
    below = conda(tmp_path, [(member("lib64/a.so"), b"")], name="below")
    with pytest.raises(PlanError, match=r"below 1.0 brings lib64/a.so, but lib64 is a link of linker 1.0"):
        plan_layers([link, below])


def test_the_largest_packages_have_layers_of_their_own_and_order_does_not_matter(tmp_path: Path) -> None:
    packages = [conda(tmp_path, [(member(f"lib/f{n}", b"x" * n), b"x" * n)], name=f"p{n}") for n in range(60)]
    plan = plan_layers(packages)
    assert [layer.title for layer in plan.layers[:3]] == ["p59 1.0", "p58 1.0", "p57 1.0"]
    assert len([layer for layer in plan.layers if not layer.title.startswith("bin ")]) == 48
    assert plan_layers(packages[::-1]) == plan


def test_two_packages_with_one_path_are_noted_with_the_winner(tmp_path: Path) -> None:
    one = conda(tmp_path, [(member("share/a", b"12"), b"12")], name="one")
    two = conda(tmp_path, [(member("share/a", b"1"), b"1")], name="two")
    assert plan_layers([one, two]).notes == ("two 1.0 and one 1.0 both bring share/a; two 1.0's stay",)


def test_a_noarch_package_and_a_platform_package_with_one_path_are_noted(tmp_path: Path) -> None:
    python = conda(tmp_path, [(member("bin/python3.11", b"123"), b"123")], name="python")
    python = replace(python, locked=replace(python.locked, version="3.11.7"))
    noarch = conda(tmp_path, [(member("site-packages/a.py", b"1"), b"1")], name="noarch", noarch=True)
    plain = conda(tmp_path, [(member("lib/python3.11/site-packages/a.py", b"12"), b"12")], name="plain")
    assert plan_layers([python, noarch, plain]).notes == (
        "noarch 1.0 and plain 1.0 both bring lib/python3.11/site-packages/a.py; noarch 1.0's stay",
    )


def test_a_small_package_always_falls_into_the_same_bin() -> None:
    assert [bin_of(name) for name in ("six", "jinja2", "numpy")] == [4, 11, 12]


def old_conda(folder: Path, files: Sequence[tuple[tarfile.TarInfo, bytes]]) -> Package:
    """A `.tar.bz2` package, as conda built them until 2019."""
    documents = {"index.json": {"name": "old", "version": "1.0", "build": "0"}, "paths.json": {"paths": []}}
    path = folder / "old-1.0-0.tar.bz2"
    with tarfile.open(path, "w:bz2") as archive:
        for key, value in documents.items():
            data = json.dumps(value).encode()
            archive.addfile(member(f"info/{key}", data), io.BytesIO(data))
        for info, data in files:
            archive.addfile(info, io.BytesIO(data))
    locked = LockedPackage("conda", "old", "1.0", f"file://{path}", "a" * 64, build="0", subdir="linux-64")
    return read_package(locked, path)


def test_a_damaged_old_package_is_told_from_a_full_disk(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)  # more than one block of bzip2: its beginning stays readable
    package = old_conda(tmp_path, [(member("share/data", content), content)])
    data = bytearray(package.file.read_bytes())
    data[-1_000_000:-999_000] = bytes(1000)
    package.file.write_bytes(data)
    (tmp_path / "tree").mkdir()
    with pytest.raises(PackageError, match=r"old-1\.0-0\.tar\.bz2 is damaged"):
        unpack(package, tmp_path / "tree", None)


def test_a_hard_link_to_nothing_is_told_from_a_full_disk(tmp_path: Path) -> None:
    package = conda(tmp_path, [(member("bin/a", kind=tarfile.LNKTYPE, link="bin/absent"), b"")])
    (tmp_path / "tree").mkdir()
    with pytest.raises(PackageError, match="bin/a, a hard link to bin/absent, which is no file of it; refused"):
        unpack(package, tmp_path / "tree", None)


def test_a_path_that_is_deeper_than_any_real_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="in more than 128 folders; refused"):
        conda(tmp_path, [(member("a/" * 200 + "b"), b"")])


ZEROS = bytes(4 << 20)
"""Of which a few hundred bytes stay in an archive."""


@pytest.fixture
def at_most_1_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    """What any package may unpack to; a larger one 100 times its own size."""
    monkeypatch.setattr(unpacked_size, "_ALWAYS", 1 << 20)


@pytest.mark.usefixtures("at_most_1_mib")
@pytest.mark.parametrize("make", [conda, old_conda])
def test_a_package_that_unpacks_to_far_too_much_is_refused(
    tmp_path: Path, make: Callable[[Path, list[tuple[tarfile.TarInfo, bytes]]], Package]
) -> None:
    (tmp_path / "tree").mkdir()
    with pytest.raises(PackageError, match=r"is refused: it unpacks to more than 1\.0 MB, which no real package does"):
        unpack(make(tmp_path, [(member("share/zeros", ZEROS), ZEROS)]), tmp_path / "tree", None)


@pytest.mark.usefixtures("at_most_1_mib")
def test_a_large_package_may_unpack_to_much(tmp_path: Path) -> None:
    content = os.urandom(50_000) + ZEROS  # 80 times
    (tmp_path / "tree").mkdir()
    unpack(conda(tmp_path, [(member("share/zeros", content), content)]), tmp_path / "tree", None)
    assert (tmp_path / "tree/opt/env/share/zeros").stat().st_size == len(content)


def test_metadata_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_module, "MAX_METADATA", 50)
    with pytest.raises(PackageError, match=r"info/index\.json unpacks to more than 50 B"):
        conda(tmp_path, [(member("share/with-a-rather-long-name"), b"")])


@pytest.mark.usefixtures("at_most_1_mib")
def test_a_wheel_that_unpacks_to_far_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb-1.dist-info/METADATA", "Name: bomb\n")
        archive.writestr("bomb/zeros", ZEROS)
    with pytest.raises(PackageError, match="is refused: it unpacks to more than"):
        read_package(LockedPackage("pip", "bomb", "1", f"file://{path}", "a" * 64), path)


class Watching(Silent):
    """Keeps how many bytes were announced, and how many were done."""

    def __init__(self) -> None:
        self.announced = self.done = 0

    def advance(self, amount: int) -> None:
        self.done += amount

    @contextmanager
    def task(self, stage: str, total: int | None, unit: str = "B") -> Iterator[Task]:
        self.announced += total or 0
        yield self


def build(home: Path, *packages: Package) -> tuple[int, int, int]:
    """Bytes announced, bytes done, packages packed."""
    watching = Watching()
    pieces = build_layers(plan_layers(packages), Base("none", 1, (), (), 0), Settings(home=home), watching)
    return watching.announced, watching.done, pieces.packed


def test_only_what_is_missing_is_packed_and_counted(tmp_path: Path) -> None:
    first = conda(tmp_path, [(member("share/first", b"12345"), b"12345")], name="first")
    second = conda(tmp_path, [(member("share/second", b"1234567"), b"1234567")], name="second")
    second = replace(second, locked=replace(second.locked, sha256="b" * 64))
    assert build(tmp_path / "home", first) == (5, 5, 1)
    assert build(tmp_path / "home", first, second) == (7, 7, 1)
    assert build(tmp_path / "home", first, second) == (0, 0, 0)
