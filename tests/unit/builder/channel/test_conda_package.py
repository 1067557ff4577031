"""The same tree gives the same bytes; a changed one gives another name."""

import hashlib
import os
from pathlib import Path

from envbuild.builder.channel.conda_package import PLACEHOLDER, Package, write_package

PACKAGE = Package("demo", "1.0", "py{hash}_0", "noarch", depends=("python",), noarch="generic")


def tree(folder: Path, content: str = "1") -> Path:
    (folder / "share").mkdir(parents=True)
    (folder / "share" / "data.txt").write_text(content)
    (folder / "share" / "link").symlink_to("data.txt")
    return folder


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_times_and_the_umask_do_not_reach_the_package(tmp_path: Path) -> None:
    one = write_package(PACKAGE, tree(tmp_path / "one"), tmp_path / "a", lambda amount: None)
    other = tree(tmp_path / "other")
    os.utime(other / "share" / "data.txt", (1, 1))
    (other / "share" / "data.txt").chmod(0o600)
    again = write_package(PACKAGE, other, tmp_path / "b", lambda amount: None)
    assert one.name == again.name
    assert digest(one) == digest(again)


def test_other_content_has_another_name(tmp_path: Path) -> None:
    one = write_package(PACKAGE, tree(tmp_path / "one", "1"), tmp_path, lambda amount: None)
    other = write_package(PACKAGE, tree(tmp_path / "other", "2"), tmp_path, lambda amount: None)
    assert one.name != other.name


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    seen: list[int] = []
    write_package(PACKAGE, tree(tmp_path / "one", "12345"), tmp_path, seen.append)
    assert sum(seen) == 10  # the file, and the link to it as paths.json counts it


def test_the_placeholder_fits_into_a_script_line() -> None:
    assert len(f"#!{PLACEHOLDER}/bin/python3.11") < 127
