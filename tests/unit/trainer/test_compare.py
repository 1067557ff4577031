"""Runs side by side."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from envbuild.trainer.compare import best_is, compare_runs
from envbuild.trainer.run import RunRecord, create_run, update_run


def new_run(home: Path, parameters: Mapping[str, object], *lines: Mapping[str, object]) -> RunRecord:
    run = create_run(home, "digits", {"parameters": parameters})
    whole = [{"s": number, "t": 1.0, **line} for number, line in enumerate(lines)]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in whole))
    return update_run(run, state="Completed")


def losses(*values: float) -> list[Mapping[str, object]]:
    return [{"k": "loss", "v": value} for value in values]


def test_the_best_run_comes_first(tmp_path: Path) -> None:
    worse = new_run(tmp_path, {"lr": 0.1}, *losses(3.0, 2.0, 2.5))
    none = new_run(tmp_path, {"lr": 0.3})
    better = new_run(tmp_path, {"lr": 0.2}, *losses(3.0, 1.0, 1.5))
    rows = compare_runs([worse, none, better]).rows
    assert [row.run_id for row in rows] == [better.run_id, worse.run_id, none.run_id]
    result = rows[0].results["loss"]
    assert (result.points, result.last, result.best, result.best_step) == (3, 1.5, 1.0, 1)
    rows = compare_runs([worse, none, better], mode="max").rows
    assert rows[0].results["loss"].best == 3.0


def test_a_run_with_nothing_finite_has_no_best_value(tmp_path: Path) -> None:
    diverged = new_run(tmp_path, {}, {"k": "loss", "v": "NaN"}, {"k": "loss", "v": "Infinity"})
    fine = new_run(tmp_path, {}, *losses(5.0))
    rows = compare_runs([diverged, fine]).rows
    assert [row.run_id for row in rows] == [fine.run_id, diverged.run_id]
    assert (rows[1].results["loss"].best, rows[1].results["loss"].best_step) == (None, None)


def test_parameters_that_are_the_same_in_all_stand_apart(tmp_path: Path) -> None:
    runs = [new_run(tmp_path, {"lr": lr, "epochs": 2, **more}) for lr, more in ((0.1, {}), (0.2, {"deep": True}))]
    assert compare_runs(runs).parameters() == (("lr", "deep"), {"epochs": 2})


def test_metrics_that_most_runs_have_come_first_and_some_can_be_asked_for(tmp_path: Path) -> None:
    one = new_run(tmp_path, {}, {"k": "rare", "v": 1.0}, *losses(1.0))
    two = new_run(tmp_path, {}, *losses(2.0))
    assert compare_runs([one, two]).metrics == ("loss", "rare")
    only = compare_runs([one, two], metrics=["rare"])
    assert (only.metrics, [list(row.results) for row in only.rows]) == (("rare",), [["rare"], []])


def test_child_runs_have_rows_of_their_own(tmp_path: Path) -> None:
    run = new_run(
        tmp_path,
        {"epochs": 2},
        {"k": "child", "kind": "child", "v": {"parent": "", "name": "fold 1"}, "run": "abc"},
        {"k": "tags", "kind": "tags", "v": {"lr": 0.1}, "run": "abc"},
        {"k": "loss", "v": 7.0, "run": "abc"},
    )
    assert [row.run_id for row in compare_runs([run]).rows] == [run.run_id]
    child, parent = compare_runs([run], children=True).rows
    assert (child.run_id, child.parameters) == (f"{run.run_id}/fold 1", {"epochs": 2, "lr": "0.1"})
    assert child.results["loss"].last == 7.0
    assert parent.results == {}


def test_the_parameters_of_mlflow_stand_beside_those_of_the_arguments(tmp_path: Path) -> None:
    run = new_run(tmp_path, {"epochs": 2})
    store = run.folder / "mlflow/mlruns/0/abc"
    (store / "params").mkdir(parents=True)
    (store / "meta.yaml").write_text("start_time: 1\n")
    (store / "params/lr").write_text("0.1")
    assert compare_runs([run]).rows[0].parameters == {"epochs": 2, "lr": "0.1"}


@pytest.mark.parametrize("name", ["accuracy", "val_acc", "test/F1", "macro-auc", "R2", "mAP@50", "episode_reward"])
def test_of_these_the_highest_is_the_best(name: str) -> None:
    assert best_is(name) == "max"


@pytest.mark.parametrize("name", ["loss", "val_loss", "rmse", "perplexity", "pace", "remap_error_rate", "face"])
def test_of_others_the_lowest(name: str) -> None:
    assert best_is(name) == "min"
