"""What differs between two trees, named path by path."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.builder.layers.tree_difference import tree_differences


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal trees."""
    for name in ("one", "two"):
        tree = tmp_path / name
        (tree / "lib").mkdir(parents=True)
        (tree / "lib/a.py").write_text("a = 1\n")
        (tree / "lib/b.py").symlink_to("a.py")
        os.utime(tree / "lib/a.py", (1000, 1000))
    return tmp_path / "one", tmp_path / "two"


def test_equal_trees_have_no_difference(trees: tuple[Path, Path]) -> None:
    os.utime(trees[1] / "lib", (1, 1))  # a layer keeps no time of folders
    assert tree_differences(*trees) == []


def replace_link(tree: Path) -> None:
    (tree / "lib/b.py").unlink()
    (tree / "lib/b.py").symlink_to("c.py")


def replace_file_by_folder(tree: Path) -> None:
    (tree / "lib/a.py").unlink()
    (tree / "lib/a.py").mkdir()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda tree: (tree / "lib/c.py").touch(), "lib/c.py should not be there"),
        (lambda tree: (tree / "lib/a.py").unlink(), "lib/a.py is missing"),
        (lambda tree: (tree / "lib/a.py").chmod(0o755), "lib/a.py has the mode 755, not 644"),
        (lambda tree: os.utime(tree / "lib/a.py", (2000, 2000)), "lib/a.py has the time 2000, not 1000"),
        (replace_link, "lib/b.py points to c.py, not to a.py"),
        (replace_file_by_folder, "lib/a.py is a folder, not a file"),
    ],
)
def test_every_kind_of_difference_is_named(
    trees: tuple[Path, Path], change: Callable[[Path], object], line: str
) -> None:
    change(trees[1])
    assert tree_differences(*trees) == [line]


def test_changed_content_is_shown_by_its_digest(trees: tuple[Path, Path]) -> None:
    (trees[1] / "lib/a.py").write_text("a = 2\n")
    (line,) = tree_differences(*trees)
    assert line.startswith("lib/a.py has other content: sha256 ") and line.endswith("(6)")
