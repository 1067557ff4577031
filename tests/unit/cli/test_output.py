"""Every `--json` is one JSON document; a question gets an answer or is a sentence."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.cli import output
from envbuild.cli.app import run as envbuild
from envbuild.trainer.run import RunRecord, create_run, update_run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    monkeypatch.setenv("ENVBUILD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return update_run(create_run(tmp_path / "home", "digits", {"script": "train.py"}), state="Completed")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def strict(text: str) -> object:
    """`text` as JSON proper: without the NaN that Python would take."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_a_number_that_json_does_not_have_is_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"a": [float("nan")], "b": (float("inf"), 1.5), "c": float("-inf")})
    assert strict(capsys.readouterr().out) == {"a": ["NaN"], "b": ["Infinity", 1.5], "c": "-Infinity"}


def test_no_removes_nothing_and_is_no_interruption(
    run: RunRecord, answer: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    answer("n\n")
    assert envbuild(["runs", "remove", "last"]) == 1
    assert "nothing was removed" in capsys.readouterr().err
    assert run.folder.is_dir()


def test_a_question_that_nobody_can_answer_is_a_sentence(
    run: RunRecord, answer: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    answer("")
    assert envbuild(["runs", "remove", "last"]) == 2
    assert "error: nobody answers the question here; say --yes" in capsys.readouterr().err
    assert run.folder.is_dir()


def test_yes_removes(run: RunRecord, answer: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    answer("y\n")
    assert envbuild(["runs", "remove", "last", "--json"]) == 0
    assert strict(capsys.readouterr().out) == {"removed": [run.run_id]}
    assert not run.folder.exists()


def test_what_is_not_built_cannot_be_loaded(run: RunRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "env.yml").write_text("dependencies: [python=3.11]\n")
    assert envbuild(["register", "env.yml", "--no-build", "--load"]) == 2
    assert "--no-build makes no image" in capsys.readouterr().err
