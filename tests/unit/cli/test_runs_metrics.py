"""`envbuild runs metrics`: the form of its JSON, and what it prints."""

import json
from pathlib import Path

import pytest

from envbuild.cli.app import run as envbuild
from envbuild.trainer.metrics.protobuf import bytes_field
from envbuild.trainer.metrics.tfrecord import framed
from envbuild.trainer.run import RunRecord, create_run, update_run

LINES = """\
{"k":"loss","v":2.5,"s":0,"t":10.5}
{"k":"loss","v":"NaN","s":1,"t":11.5}
{"k":"loss","v":3.5,"s":0,"t":12.5,"rank":1}
{"k":"\\u001b[2Jevil","v":1,"s":0,"t":13.5}
{"k":"sizes","kind":"list","v":[1,2],"t":14.5}
{"k":"tags","kind":"tags","v":{"model":"net"},"t":15.5}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    monkeypatch.setenv("ENVBUILD_HOME", str(tmp_path))
    run = create_run(tmp_path, "digits", {})
    run.metrics_file.write_text(LINES)
    return update_run(run, state="Completed")


def test_the_form_of_the_json(run: RunRecord, capsys: pytest.CaptureFixture[str]) -> None:
    assert envbuild(["runs", "metrics", "last", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["run_id"] == run.run_id
    assert document["metrics"] == {
        "loss": [
            {"step": 0, "value": 2.5, "time": 10.5},
            {"step": 1, "value": "NaN", "time": 11.5},
            {"step": 0, "value": 3.5, "time": 12.5, "rank": 1},
        ],
        "\x1b[2Jevil": [{"step": 0, "value": 1, "time": 13.5}],
    }
    assert document["other"] == [{"name": "sizes", "kind": "list", "value": [1, 2], "time": 14.5}]
    assert document["notes"][""]["tags"] == {"model": "net"}


def test_the_tables_steer_no_terminal(run: RunRecord, capsys: pytest.CaptureFixture[str]) -> None:
    assert envbuild(["runs", "metrics", "last"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["loss", "2", "2.5", "nan", "2.5", "2.5"],
        ["loss", "(rank", "1)", "1", "3.5", "3.5", "3.5", "3.5"],
    ]
    assert lines[3].startswith("\\x1b[2Jevil ")
    assert lines[-1].split() == ["list", "sizes", "[1,", "2]"]


def test_one_metric_can_be_asked_for(run: RunRecord, capsys: pytest.CaptureFixture[str]) -> None:
    assert envbuild(["runs", "metrics", "last", "--name", "sizes", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["metrics"], len(document["other"])) == ({}, 1)
    assert envbuild(["runs", "metrics", "last", "--name", "los"]) == 2
    assert "has no metric called 'los'; did you mean loss?" in capsys.readouterr().err


def test_histograms_are_counted_and_what_cannot_be_read_is_said(
    run: RunRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = bytes_field(6, bytes(16)) + bytes_field(7, bytes(16))
    value = bytes_field(1, b"weights") + bytes_field(5, bars)
    event = framed(bytes_field(5, bytes_field(1, value)))
    (run.outputs / "events.out.tfevents.1").write_bytes(event + event + b"cut")
    assert envbuild(["runs", "metrics", "last", "--name", "weights"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].split(maxsplit=2) == [
        "histogram", "weights", "2 steps in outputs/events.out.tfevents.1",
    ]  # fmt: skip
    assert f"outputs/events.out.tfevents.1: the record at byte {2 * len(event)} is not whole" in printed.err
