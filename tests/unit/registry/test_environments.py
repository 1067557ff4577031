"""Versions: numbered per name, never given twice, found by every kind of reference."""

from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.errors import InputError, NotFound
from envbuild.registry.environments import Environment, find_lock, find_version, load, remove_version
from envbuild.registry.tags import move_tag

Add = Callable[..., Environment]


def test_versions_are_numbered_per_name(add: Add) -> None:
    assert [add("one").reference, add("one", "b").reference, add("two").reference] == ["one:1", "one:2", "two:1"]


def test_the_same_content_never_makes_a_second_version(add: Add) -> None:
    assert [add(identity=identity).version for identity in "abab"] == [1, 2, 1, 2]


def test_every_kind_of_reference_finds_its_version(tmp_path: Path, add: Add) -> None:
    add(identity="a")
    add(identity="b")
    move_tag(tmp_path, "small", "prod", 1)
    found = {
        reference: load(tmp_path, reference).version
        for reference in ("small", "small:latest", "small:1", "small:prod", f"small@sha256:{'b' * 64}")
    }
    assert list(found.values()) == [2, 2, 1, 1, 2]
    assert load(tmp_path, "small@sha256:bbbbbbbbbbbb").version == 2


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("smal", "did you mean small"),
        ("small:9", "small has no version or tag '9'; it has 1, 2; tags: prod"),
        ("small:prd", "small has no version or tag 'prd'; it has 1, 2; tags: prod"),
        ("small:02", "small has no version or tag '02'"),
        ("small:", "small has no version or tag ''"),
        ("small@sha256:cccccccccccc", "small has no version whose image is sha256:cccccccccccc"),
    ],
)
def test_what_is_not_there_is_a_sentence_that_lists_what_is(
    tmp_path: Path, add: Add, reference: str, sentence: str
) -> None:
    add(identity="a")
    add(identity="b")
    move_tag(tmp_path, "small", "prod", 1)
    with pytest.raises(NotFound, match=sentence):
        load(tmp_path, reference)


@pytest.mark.parametrize("reference", ["../x", "a b", "", "small@sha256:b", "small@md5:aa", "small/../x:1"])
def test_what_is_no_reference(tmp_path: Path, add: Add, reference: str) -> None:
    add()
    with pytest.raises(InputError, match=r"cannot name an environment|names no image"):
        load(tmp_path, reference)


def test_a_removed_number_is_never_given_again(tmp_path: Path, add: Add) -> None:
    add(identity="a")
    add(identity="b")
    remove_version(tmp_path, "small", 2)
    assert load(tmp_path, "small").version == 1
    assert add(identity="b").version == 3


def test_removing_a_version_takes_its_tags(tmp_path: Path, add: Add) -> None:
    add(identity="a")
    add(identity="b")
    move_tag(tmp_path, "small", "prod", 2)
    remove_version(tmp_path, "small", 2)
    with pytest.raises(NotFound, match="small has no version or tag 'prod'; it has 1$"):
        load(tmp_path, "small:prod")


def test_a_version_is_found_by_what_it_is(tmp_path: Path, add: Add) -> None:
    add(identity="a")
    add(identity="b")
    found = find_version(tmp_path, "small", f"sha256:{'a' * 64}")
    assert found is not None and found.version == 1
    assert find_version(tmp_path, "small", f"sha256:{'c' * 64}") is None
    assert find_version(tmp_path, "other", f"sha256:{'a' * 64}") is None


def test_a_lock_is_found_by_its_request_under_any_name(tmp_path: Path, add: Add) -> None:
    environment = add("one")
    assert find_lock(tmp_path, f"sha256:{'a' * 64}") is None
    environment.lock_file.write_text("version: 1\n")
    assert find_lock(tmp_path, f"sha256:{'a' * 64}") == environment.lock_file


def test_a_wish_is_granted_where_the_number_never_meant_anything_else(tmp_path: Path, add: Add) -> None:
    assert add(identity="a", wish=3).version == 3
    assert add(identity="b", wish=3).version == 4
    remove_version(tmp_path, "small", 3)
    assert add(identity="c", wish=3).version == 5
    assert add(identity="a", wish=3).version == 3
