"""The curated bases as data."""

import re
from pathlib import Path

import pytest

from envbuild.errors import BaseError, NotFound
from envbuild.images.catalog import base_names, read_base, read_recipe, registry_bases, write_recipe

ROOT = Path(__file__).resolve().parents[3]


def test_the_default_base_is_among_the_curated_ones() -> None:
    assert base_names() == ["debian12-minimal", "debian12-openmpi"]


@pytest.mark.parametrize(("name", "count"), [("debian12-minimal", 45), ("debian12-openmpi", 78)])
def test_every_pin_is_a_size_and_a_sha256_and_no_package_comes_twice(name: str, count: int) -> None:
    packages = read_base(name).packages
    assert all(each.size > 0 and re.fullmatch("[0-9a-f]{64}", each.sha256) for each in packages)
    assert len({each.name for each in packages}) == len(packages) == count


def test_the_openmpi_base_holds_the_minimal_one() -> None:
    minimal, openmpi = (set(read_base(f"debian12-{name}").packages) for name in ("minimal", "openmpi"))
    assert minimal < openmpi


def test_the_recipes_name_no_host() -> None:
    for file in (ROOT / "images" / "bases").glob("*.toml"):
        assert "://" not in file.read_text()


def test_an_unknown_base_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="no base is named 'debian12-minimum'; did you mean debian12-minimal?"):
        read_base("debian12-minimum")


def test_a_base_that_is_like_none_is_answered_with_the_list() -> None:
    with pytest.raises(NotFound, match=r"no base is named '\.\./x'; known: debian12-minimal, debian12-openmpi"):
        read_base("../x")


def test_the_bases_of_the_project_are_known_too() -> None:
    with pytest.raises(NotFound, match="no base is named 'taem'; did you mean team?"):
        read_base("taem", others=["team"])


def test_a_recipe_written_is_the_recipe_read(tmp_path: Path) -> None:
    recipe = read_base("debian12-minimal")
    (tmp_path / "pins.toml").write_text(write_recipe(recipe))
    assert read_recipe(tmp_path / "pins.toml", recipe.name) == recipe


@pytest.mark.parametrize("text", ["", "version = ", 'version = "x"', "packages = [1]", "version = 1\npackages = 3"])
def test_a_damaged_recipe_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "pins.toml").write_text(text)
    with pytest.raises(BaseError, match=r"pins.toml is no usable base recipe .*; remove it or install envbuild again"):
        read_recipe(tmp_path / "pins.toml", "x")


def test_bases_from_registries_are_pinned_by_digest() -> None:
    assert list(registry_bases()) == ["cuda12-ubuntu22"]
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", each.image) for each in registry_bases().values())
