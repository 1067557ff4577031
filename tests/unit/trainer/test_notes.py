"""Tags, properties and child runs as a script writes them, read while they are written, and put into the record."""

import errno
import json
from pathlib import Path

import pytest

from envbuild.builder import atomic
from envbuild.trainer.metrics import Notes
from envbuild.trainer.notes import NoteReader, merged
from envbuild.trainer.run import create_run, load_folder, update_run
from envbuild.trainer.watch import Watch


def test_notes_are_read_once_and_metrics_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    reader = NoteReader(tmp_path)
    assert not reader.read()
    file.write_text('{"k":"loss","v":1.0,"s":0,"t":1}\n{"k":"tags","kind":"tags","v":{"model":"cnn"},"t":1}\n')
    assert reader.read() == {"": Notes(tags={"model": "cnn"})}
    assert not reader.read()
    with file.open("a") as more:
        more.write('{"k":"properties","kind":"properties","v":{"author":"me"},"t":1}\n{"k":"tags","kind":"ta')
    assert reader.read() == {"": Notes(properties={"author": "me"})}
    with file.open("a") as more:
        more.write('gs","v":{"best":null},"t":1}\n')
    assert reader.read() == {"": Notes(tags={"best": ""})}


def test_child_runs_have_names_tags_and_an_end_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(
        '{"k":"child","kind":"child","v":{"parent":"R","name":"fold-1","files":"children/x"},"run":"R.fold-1","log":0,"t":1}\n'
        '{"k":"tags","kind":"tags","v":{"best":"yes"},"run":"R.fold-1","t":1}\n'
        '{"k":"status","kind":"status","v":"Failed","error":"no data","run":"R.fold-1","log":70,"t":2}\n'
    )
    assert merged({"state": "Running"}, NoteReader(tmp_path).read()) == {
        "state": "Running",
        "children": {
            "R.fold-1": {
                "name": "fold-1", "parent": "R", "time": 1, "ended": 2, "state": "Failed", "error": "no data",
                "files": "children/x", "tags": {"best": "yes"}, "log_begin": 0, "log_end": 70,
            }
        },
    }  # fmt: skip


def test_what_is_said_later_stands_and_the_rest_stays() -> None:
    document = {"tags": {"a": "1", "b": "1"}, "children": {"c": {"name": "c", "tags": {"x": "1"}}}}
    notes = {"": Notes(tags={"b": "2"}), "c": Notes(tags={"y": "2"})}
    assert merged(document, notes) == {
        "tags": {"a": "1", "b": "2"}, "children": {"c": {"name": "c", "tags": {"x": "1", "y": "2"}}},
    }  # fmt: skip


def test_what_is_no_note_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(
        b'"kind"\n{"k":"tags","kind":"tags","v":1,"t":1}\n["kind"]\n{"k":"child","kind":"child","v":{},"run":"c"}\n'
        b'{"k":"child","kind":"child","v":[],"run":"d","t":1}\n\xff"kind"\n' + b"x" * (9 << 20)
    )
    assert not any(merged({}, NoteReader(tmp_path).read()).values())


def test_what_a_script_says_without_end_leaves_the_record_small() -> None:
    tags = {f"{number:07}": "x" * 100_000 for number in range(100)}
    document = merged({"state": "Running"}, {"": Notes(tags=tags), "c": Notes(name="x" * 100_000)})
    assert {len(text) for text in document["tags"].values()} == {1 << 16}
    assert len(document["children"]["c"]["name"]) == 1 << 16
    more = {f"more {number}": "x" * 100_000 for number in range(100)}
    assert merged(document, {"c": Notes(properties=more)}) == document


def test_the_tags_of_a_child_are_bounded_like_those_of_the_run() -> None:
    tags = {str(number): "" for number in range(20_000)}
    document = merged({}, {"": Notes(tags=tags), "c": Notes(tags=tags)})
    assert (len(document["tags"]), len(document["children"]["c"]["tags"])) == (10_000, 10_000)


def test_what_could_not_be_kept_on_a_full_disk_is_kept_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = update_run(create_run(tmp_path, "digits", {}), state="Running")
    watch = Watch(run)
    run.metrics_file.write_text('{"k":"tags","kind":"tags","v":{"model":"cnn"},"t":1}\n')

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_file", full)
        with watch:
            pass
    with watch:
        pass
    assert json.loads((run.folder / "run.json").read_bytes())["tags"] == {"model": "cnn"}
    assert load_folder(run.folder).tags == {"model": "cnn"}
