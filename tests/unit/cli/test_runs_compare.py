"""`envbuild runs compare`: what it prints, and what it says about what cannot be compared."""

import json
import math
from pathlib import Path

import pytest

from envbuild.cli.app import run as envbuild
from envbuild.cli.runs_compare import sparkline
from envbuild.trainer.run import create_run, update_run


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("ENVBUILD_HOME", str(tmp_path))
    found = []
    for lr, values in ((0.1, (4.0, 2.0)), (0.5, (4.0, 1.0))):
        run = create_run(tmp_path, "digits", {"parameters": {"lr": lr, "epochs": 2}})
        lines = (f'{{"k":"loss","v":{value},"s":{step},"t":1.0}}\n' for step, value in enumerate(values))
        run.metrics_file.write_text("".join(lines))
        found.append(update_run(run, state="Completed").run_id)
    return found


def test_the_table_shows_what_differs_best_first(ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert envbuild(["runs", "compare", *ids]) == 0
    same, header, first, second = capsys.readouterr().out.splitlines()
    assert same == "the same in all: epochs=2"
    assert header.split() == ["RUN", "STATE", "lr", "loss", "MIN", "(STEP)"]
    assert first.split() == [ids[1], "Completed", "0.5", "1", "1", "(1)", "█▁"]
    assert second.split() == [ids[0], "Completed", "0.1", "2", "2", "(1)", "█▃"]


def test_json_has_every_number(ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert envbuild(["runs", "compare", *ids, "--mode", "max", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["parameters"] == {"different": ["lr"], "same": {"epochs": 2}}
    assert document["metrics"] == {"loss": {"mode": "max"}}
    assert document["runs"][0]["metrics"]["loss"] == {"points": 2, "last": 2.0, "best": 4.0, "best_step": 0}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--metric", "los"], "none of these runs has a metric called 'los'"),
        (["--mode", "best"], "--mode 'best' is not known; write min or max"),
        (["20991231"], "no run is called '20991231'"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(
    ids: list[str], capsys: pytest.CaptureFixture[str], more: list[str], sentence: str
) -> None:
    assert envbuild(["runs", "compare", *ids, *more]) == 2
    assert sentence in capsys.readouterr().err


def test_a_curve_is_a_row_of_bars() -> None:
    assert sparkline([0.0, 1.0, 2.0, 3.0], (0.0, 3.0)) == "▁▃▆█"
    assert sparkline([1.0, math.nan, 1.0], (1.0, 1.0)) == "▁ ▁"
    assert sparkline([-1.7e308, 1.7e308], (-1.7e308, 1.7e308)) == "▁█"
    assert len(sparkline([1.0] * 1000, (0.0, 1.0))) == 16
    assert sparkline([], (0.0, 0.0)) == ""
