"""Tags point at versions and can be moved; the history tells."""

from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.errors import InputError, NotFound, StoreError
from envbuild.registry.environments import Environment, remove_version
from envbuild.registry.history import history
from envbuild.registry.tags import drop_tag, move_tag, read_events, read_tags, tags_by_version

Add = Callable[..., Environment]


def test_a_tag_moves_and_says_where_it_was(tmp_path: Path, add: Add) -> None:
    add()
    add(identity="b")
    assert [move_tag(tmp_path, "small", "prod", version) for version in (1, 2, 2)] == [None, 1, 2]
    assert read_tags(tmp_path, "small") == {"prod": 2}


def test_a_removed_tag_is_gone_and_its_version_stays(tmp_path: Path, add: Add) -> None:
    add()
    move_tag(tmp_path, "small", "prod", 1)
    move_tag(tmp_path, "small", "test", 1)
    assert drop_tag(tmp_path, "small", "prod") == 1
    assert tags_by_version(tmp_path, "small") == {1: ["test"]}
    with pytest.raises(InputError, match="small has no tag 'prod'; it has: test"):
        drop_tag(tmp_path, "small", "prod")


@pytest.mark.parametrize("tag", ["", "3", "-a", "a/b", "a b", "a" * 129, "é", "latest"])
def test_what_cannot_be_a_tag(tmp_path: Path, add: Add, tag: str) -> None:
    add()
    with pytest.raises(InputError, match="tag"):
        move_tag(tmp_path, "small", tag, 1)


def test_a_damaged_tags_file_is_a_sentence(tmp_path: Path, add: Add) -> None:
    add()
    (tmp_path / "environments/small/tags.json").write_text("[")
    with pytest.raises(StoreError, match="remove it and set the tags again"):
        read_tags(tmp_path, "small")


def test_the_history_tells_what_happened(tmp_path: Path, add: Add) -> None:
    add(reason="first version of small")
    add(identity="b", reason="numpy 2.1.0 -> 2.2.0", registered="2026-11-24T10:01:00Z")
    move_tag(tmp_path, "small", "prod", 1)
    move_tag(tmp_path, "small", "prod", 2)
    drop_tag(tmp_path, "small", "prod")
    move_tag(tmp_path, "small", "old", 1)
    assert remove_version(tmp_path, "small", 1) == ("old",)
    assert [(event.what, event.version, event.detail) for event in history(tmp_path, "small")] == [
        ("registered", 1, "first version of small"),
        ("registered", 2, "numpy 2.1.0 -> 2.2.0"),
        ("tagged", 1, "prod"),
        ("tagged", 2, "prod, before on version 1"),
        ("untagged", 2, "prod"),
        ("tagged", 1, "old"),
        ("removed", 1, "with the tags old"),
    ]


def test_a_name_without_versions_keeps_its_history(tmp_path: Path, add: Add) -> None:
    add()
    remove_version(tmp_path, "small", 1)
    assert [event.what for event in history(tmp_path, "small")] == ["registered", "removed"]


def test_a_torn_line_of_the_history_is_passed_over(tmp_path: Path, add: Add) -> None:
    add()
    move_tag(tmp_path, "small", "prod", 1)
    with (tmp_path / "environments/small/history.jsonl").open("a") as file:
        file.write('{"time": "2026')
    assert len(history(tmp_path, "small")) == 2


def test_a_name_that_never_was_has_no_history(tmp_path: Path, add: Add) -> None:
    add()
    with pytest.raises(NotFound, match="did you mean small"):
        history(tmp_path, "smal")


def test_a_torn_line_takes_no_later_event_along_and_no_number_is_given_twice(tmp_path: Path, add: Add) -> None:
    add("small", "sha256:a")
    add("small", "sha256:b")
    file = tmp_path / "environments/small/history.jsonl"
    file.write_text('{"time": "2026-11-24T16:00:00Z", "ev')
    remove_version(tmp_path, "small", 2)
    assert [event["event"] for event in read_events(tmp_path, "small")] == ["removed"]
    assert add("small", "sha256:c").version == 3


@pytest.mark.parametrize(
    "line", ['{"time": "t", "event": "removed"}', '{"time": "t", "event": "removed", "version": []}']
)
def test_an_event_of_no_version_is_passed_over(tmp_path: Path, add: Add, line: str) -> None:
    add("small", "sha256:a")
    (tmp_path / "environments/small/history.jsonl").write_text(f"{line}\n")
    assert [event.what for event in history(tmp_path, "small")] == ["registered"]
    assert add("small", "sha256:b").version == 2
