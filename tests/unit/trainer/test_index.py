"""The index of runs: never in the way of the truth, which is in the records."""

import os
import sqlite3
from pathlib import Path

import pytest

from envbuild.trainer.index import FILE_NAME
from envbuild.trainer.run import create_run, list_runs, remove_run, update_run
from envbuild.trainer.supervision import process_start
from envbuild.trainer.uses import all_uses

ALIVE = {"pid": os.getpid(), "start": process_start(os.getpid())}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for number in range(3):
        create_run(tmp_path, "digits", {"process": ALIVE, "number": number})
    list_runs(tmp_path)
    return tmp_path


def kept(home: Path) -> int:
    with sqlite3.connect(home / "runs" / FILE_NAME) as index:
        return int(index.execute("SELECT count(*) FROM run").fetchone()[0])


def test_listing_makes_it(home: Path) -> None:
    assert kept(home) == 3


def test_a_change_is_seen_at_once(home: Path) -> None:
    run = list_runs(home)[0]
    update_run(run, state="Completed", seen=True)
    assert [each.document.get("seen") for each in list_runs(home)] == [True, None, None]


def test_a_removed_run_leaves_it(home: Path) -> None:
    remove_run(update_run(list_runs(home)[0], state="Completed"))
    assert len(list_runs(home)) == 2
    assert kept(home) == 2


def test_one_experiment_s_list_keeps_the_others(home: Path) -> None:
    create_run(home, "digits-2", {"process": ALIVE})
    list_runs(home)
    assert len(list_runs(home, "digits")) == 3
    assert kept(home) == 4


def test_an_experiment_without_runs_takes_nothing_out(home: Path) -> None:
    assert list_runs(home, "unknown") == []
    assert kept(home) == 3


@pytest.mark.parametrize("damage", [b"", b"no database at all", b"SQLite format 3\0" + bytes(100)])
def test_a_damaged_one_is_made_again(home: Path, damage: bytes) -> None:
    (home / "runs" / FILE_NAME).write_bytes(damage)
    assert len(list_runs(home)) == 3
    assert kept(home) == 3


def test_one_of_another_version_is_made_again(home: Path) -> None:
    with sqlite3.connect(home / "runs" / FILE_NAME) as index:
        index.execute("DROP TABLE run")
        index.execute("CREATE TABLE run (other TEXT)")
        index.execute("PRAGMA user_version = 99")
    assert len(list_runs(home)) == 3
    assert kept(home) == 3


def test_without_one_the_runs_are_listed_all_the_same(home: Path) -> None:
    (home / "runs" / FILE_NAME).unlink()
    (home / "runs" / FILE_NAME).mkdir()
    assert len(list_runs(home)) == 3


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), os.fsdecode(b"\xff")])
def test_a_record_that_strict_json_does_not_know_is_listed_too(home: Path, odd: object) -> None:
    run = create_run(home, "digits", {"process": ALIVE, "odd": odd})
    for _ in range(2):  # as read, and as kept
        assert run.folder in [each.folder for each in list_runs(home)]
    assert run.folder.name in " ".join(use.run for use in all_uses(home))  # else gc would take its snapshot
