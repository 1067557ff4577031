"""Run records: found by id, whole at every moment, and honest about processes that vanished."""

import json
import os
from pathlib import Path

import pytest

from envbuild.errors import InputError, NotFound
from envbuild.trainer.run import create_run, list_runs, load_run, process_start, update_run

ALIVE = {"pid": os.getpid(), "start": process_start(os.getpid())}


def test_a_new_run_is_queued_and_has_its_files(tmp_path: Path) -> None:
    run = create_run(tmp_path, "digits", {"process": ALIVE})
    assert (run.state, run.experiment) == ("Queued", "digits")
    assert sorted(entry.name for entry in run.folder.iterdir()) == [
        "70_driver_log.txt", "images", "metrics.jsonl", "outputs", "run.json",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "-a", "a/b", "..", "a b", "a" * 256])
def test_a_bad_experiment_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot name an experiment"):
        create_run(tmp_path, name, {})


def test_a_change_keeps_what_was_recorded_before(tmp_path: Path) -> None:
    run = create_run(tmp_path, "digits", {"process": ALIVE, "script": "train.py"})
    update_run(run, state="Completed", exit_code=0)
    document = json.loads((run.folder / "run.json").read_bytes())
    assert (document["state"], document["exit_code"], document["script"]) == ("Completed", 0, "train.py")


@pytest.mark.parametrize(("state", "status"), [("Completed", 0), ("Failed", 1), ("Canceled", 130), ("Lost", 1)])
def test_a_state_decides_what_the_command_line_ends_with(tmp_path: Path, state: str, status: int) -> None:
    assert update_run(create_run(tmp_path, "digits", {}), state=state).exit_status == status


def test_a_run_whose_process_lives_stays_running(tmp_path: Path) -> None:
    update_run(create_run(tmp_path, "digits", {"process": ALIVE}), state="Running")
    assert load_run(tmp_path, "last").state == "Running"


def test_a_run_whose_process_is_gone_is_lost(tmp_path: Path) -> None:
    update_run(create_run(tmp_path, "digits", {"process": {"pid": 2**22 + 1, "start": "1"}}), state="Running")
    assert load_run(tmp_path, "last").state == "Lost"


def test_a_reused_pid_does_not_keep_a_run_alive(tmp_path: Path) -> None:
    update_run(create_run(tmp_path, "digits", {"process": {"pid": os.getpid(), "start": "1"}}), state="Running")
    assert load_run(tmp_path, "last").state == "Lost"


def test_a_run_that_ended_is_never_lost(tmp_path: Path) -> None:
    update_run(create_run(tmp_path, "digits", {"process": {"pid": 2**22 + 1, "start": "1"}}), state="Completed")
    assert load_run(tmp_path, "last").state == "Completed"


def test_a_run_is_found_by_id_prefix_and_experiment(tmp_path: Path) -> None:
    run = create_run(tmp_path, "digits", {"process": ALIVE})
    for reference in (run.run_id, run.run_id[:-1], f"digits/{run.run_id}", "last"):
        assert load_run(tmp_path, reference).run_id == run.run_id


def test_an_ambiguous_prefix_is_refused(tmp_path: Path) -> None:
    create_run(tmp_path, "digits", {"process": ALIVE})
    create_run(tmp_path, "digits", {"process": ALIVE})
    with pytest.raises(NotFound, match="is the beginning of 2 runs"):
        load_run(tmp_path, "2")


def test_a_misspelt_id_names_the_near_one(tmp_path: Path) -> None:
    run = create_run(tmp_path, "digits", {"process": ALIVE})
    with pytest.raises(NotFound, match=f"did you mean {run.run_id}"):
        load_run(tmp_path, run.run_id[:-1] + "x")


def test_no_run_yet_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="envbuild run src/ train.py"):
        load_run(tmp_path, "last")


def test_a_damaged_record_hides_no_other_run(tmp_path: Path) -> None:
    run = create_run(tmp_path, "digits", {"process": ALIVE})
    (tmp_path / "runs/digits/broken").mkdir()
    (tmp_path / "runs/digits/broken/run.json").write_text("{")
    assert [each.run_id for each in list_runs(tmp_path, "digits")] == [run.run_id]
