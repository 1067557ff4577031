"""The key cache only saves time: whatever has become of it, it is an answer or none, and goes on."""

import sqlite3
from pathlib import Path

import pytest

from envbuild.registry.cache import keep, recall


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keep(tmp_path, "key", "sha256:1")
    assert recall(tmp_path, "key") == "sha256:1"
    return tmp_path


def database(home: Path) -> Path:
    return home / "cache/keys/cache.db"


def works_again(home: Path) -> bool:
    keep(home, "key", "sha256:2")
    return recall(home, "key") == "sha256:2"


@pytest.mark.parametrize(
    ("column", "value"),
    [("value", b"no zlib"), ("value", b"x\x9c\x01"), ("value", None), ("value", 7), ("mode", 4)],
)
def test_a_damaged_entry_is_a_miss(home: Path, column: str, value: object) -> None:
    with sqlite3.connect(database(home)) as connection:
        connection.execute(f"UPDATE Cache SET {column} = ?", (value,))
    connection.close()
    assert recall(home, "key") is None
    assert works_again(home)


def test_an_entry_of_another_kind_is_a_miss(home: Path) -> None:
    from diskcache import Cache, JSONDisk

    with Cache(str(home / "cache/keys"), disk=JSONDisk) as cache:
        cache.set("key", ["sha256:1"])
    assert recall(home, "key") is None
    assert works_again(home)


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + 5000 * b"\xff"])
def test_a_damaged_database_is_a_miss(home: Path, content: bytes) -> None:
    database(home).write_bytes(content)
    assert recall(home, "key") is None
    assert works_again(home)


@pytest.mark.parametrize("page", [1, 4])
def test_a_database_with_a_damaged_page_is_a_miss_or_right(home: Path, page: int) -> None:
    content = bytearray(database(home).read_bytes())
    content[page * 4096 : (page + 1) * 4096] = 4096 * b"\xff"
    for file in database(home).parent.glob("cache.db-*"):
        file.unlink()
    database(home).write_bytes(content)
    assert recall(home, "key") in (None, "sha256:1")
    assert works_again(home)


def test_a_database_that_is_a_folder_is_a_miss(home: Path) -> None:
    database(home).unlink()
    database(home).mkdir()
    assert recall(home, "key") is None
