"""The index: a shortcut that never says anything else than the records."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from envbuild.registry.environments import Environment, remove_version
from envbuild.registry.index import list_versions

Add = Callable[..., Environment]


def references(home: Path) -> list[str]:
    return [entry.reference for entry in list_versions(home).entries]


def test_versions_are_listed_by_name_and_number(tmp_path: Path, add: Add) -> None:
    for number, name in enumerate(("b", "a", *["b"] * 10)):
        add(name, "0123456789abcdef"[number])
    assert references(tmp_path) == ["a:1", *[f"b:{number}" for number in range(1, 12)]]


def test_the_second_listing_reads_no_record(tmp_path: Path, add: Add) -> None:
    environment = add()
    first = list_versions(tmp_path)
    record = environment.folder / "environment.json"
    status = record.stat()
    record.write_bytes(b" " * status.st_size)  # what is not read cannot be missed
    os.utime(record, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert list_versions(tmp_path) == first


def test_new_removed_and_changed_records_are_seen(tmp_path: Path, add: Add) -> None:
    environment = add("one")
    list_versions(tmp_path)
    add("two")
    assert references(tmp_path) == ["one:1", "two:1"]
    remove_version(tmp_path, "two", 1)
    record = json.loads((environment.folder / "environment.json").read_text())
    (environment.folder / "environment.json").write_text(json.dumps({**record, "packages": 12345}))
    assert [entry.packages for entry in list_versions(tmp_path).entries] == [12345]


def test_listing_one_name_forgets_no_other(tmp_path: Path, add: Add) -> None:
    add("one")
    add("two")
    list_versions(tmp_path)
    assert [entry.reference for entry in list_versions(tmp_path, "one").entries] == ["one:1"]
    index = json.loads((tmp_path / "cache/environments.json").read_text())
    assert sorted(index["entries"]) == ["one/1", "two/1"]


def test_a_lost_or_damaged_index_is_made_again(tmp_path: Path, add: Add) -> None:
    add()
    index = tmp_path / "cache/environments.json"
    for damage in (b"", b"{", b"[]", b'{"format":1,"entries":{"small/1":{"stamp":1}}}', b'{"format":0,"entries":{}}'):
        index.parent.mkdir(exist_ok=True)
        index.write_bytes(damage)
        assert references(tmp_path) == ["small:1"]
    index.unlink()
    assert references(tmp_path) == ["small:1"]


def test_a_damaged_record_hides_no_other(tmp_path: Path, add: Add) -> None:
    add("one")
    broken = add("two").folder
    (broken / "environment.json").write_text("{")
    found = list_versions(tmp_path)
    assert [entry.reference for entry in found.entries] == ["one:1"]
    assert found.damaged == (broken,)


def test_foreign_files_are_passed_over(tmp_path: Path, add: Add) -> None:
    add()
    (tmp_path / "environments/README").write_text("mine")
    (tmp_path / "environments/small/notes").mkdir()
    assert references(tmp_path) == ["small:1"]
