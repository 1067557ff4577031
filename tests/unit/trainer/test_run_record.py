"""Run records: found by id, whole at every moment, and honest about processes that vanished."""

import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from envbuild.builder import atomic
from envbuild.errors import InputError, NotFound
from envbuild.trainer.cancel import request_cancel
from envbuild.trainer.portal import portal_url
from envbuild.trainer.run import create_run, give_up, list_runs, load_run, remove_run, tag_run, update_run
from envbuild.trainer.supervision import process_of, process_start
from envbuild.trainer.uses import all_uses

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


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_no_number_that_json_has_not_gets_into_a_record(tmp_path: Path, number: float) -> None:
    create_run(tmp_path, "digits", {"process": ALIVE, "parameters": {"clip": [number]}})
    (run,) = list_runs(tmp_path)
    assert run.parameters == {"clip": [str(number)]}


@pytest.mark.parametrize("word", ["NaN", "Infinity", str(10**400)])
def test_a_record_with_such_a_number_is_listed_and_keeps_its_snapshot(tmp_path: Path, word: str) -> None:
    run = create_run(tmp_path, "digits", {"process": ALIVE, "snapshot": {"id": "5e7"}})
    record = run.folder / "run.json"
    record.write_text(record.read_text().replace("{", f'{{"odd": {word},', 1))
    for _ in ("read", "known"):
        assert [each.run_id for each in list_runs(tmp_path)] == [run.run_id]
    assert [use.snapshot for use in all_uses(tmp_path)] == ["5e7"]


def test_a_tag_from_outside_and_a_state_from_the_supervisor_never_undo_each_other(tmp_path: Path) -> None:
    run = create_run(tmp_path, "digits", {"process": ALIVE})
    threads = [threading.Thread(target=tag_run, args=(run, {f"key-{number}": "1"})) for number in range(20)]
    threads += [threading.Thread(target=update_run, args=(run,), kwargs={f"change-{n}": n}) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    document = json.loads((run.folder / "run.json").read_bytes())
    assert sorted(document["tags"]) == sorted(f"key-{number}" for number in range(20))
    assert all(document[f"change-{number}"] == number for number in range(20))


def test_what_cannot_be_written_is_shown_as_lost_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update_run(create_run(tmp_path, "digits", {"process": {"pid": 2**22 + 1, "start": "1"}}), state="Running")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "write_file", full)
    assert load_run(tmp_path, "last").state == "Lost"
    assert [run.state for run in list_runs(tmp_path)] == ["Lost"]


def test_a_run_of_another_machine_is_believed(tmp_path: Path) -> None:
    process = {"pid": 2**22 + 1, "start": "1"}
    update_run(create_run(tmp_path, "digits", {"process": process, "host": "elsewhere"}), state="Running")
    assert load_run(tmp_path, "last").state == "Running"
    with pytest.raises(InputError, match="is supervised on elsewhere; cancel it there, or.* runs cancel --lost"):
        request_cancel(load_run(tmp_path, "last"))


def test_a_run_of_a_machine_that_is_gone_is_given_up_and_can_be_removed(tmp_path: Path) -> None:
    elsewhere = {"process": {"pid": 1, "start": "1"}, "host": "elsewhere"}
    update_run(create_run(tmp_path, "digits", elsewhere), state="Running")
    lost = give_up(load_run(tmp_path, "last"))
    assert (lost.state, lost.reason) == ("Lost", "elsewhere, which supervised the run, was given up")
    with pytest.raises(InputError, match="has ended already: Lost"):
        give_up(load_run(tmp_path, "last"))
    remove_run(load_run(tmp_path, "last"))


def test_a_run_whose_process_lives_here_is_not_given_up(tmp_path: Path) -> None:
    run = create_run(tmp_path, "digits", {"process": ALIVE, "host": platform.node()})
    with pytest.raises(InputError, match="its process lives: cancel it without --lost"):
        give_up(run)


def test_a_queued_run_is_canceled_in_its_record(tmp_path: Path) -> None:
    run = create_run(tmp_path, "digits", {"process": ALIVE})
    request_cancel(run)
    assert load_run(tmp_path, "last").state == "Canceled"
    with pytest.raises(InputError, match="has ended already"):
        request_cancel(load_run(tmp_path, "last"))


def test_the_signal_is_for_who_supervises_now_and_not_for_who_queued_the_run(tmp_path: Path) -> None:
    def sleeping() -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    with sleeping() as caller, sleeping() as supervisor:
        queued = create_run(tmp_path, "digits", {"process": process_of(caller.pid)})
        update_run(queued, state="Preparing", process=process_of(supervisor.pid))
        request_cancel(queued)
        try:
            assert supervisor.wait(300) == -signal.SIGTERM
            assert caller.poll() is None
        finally:
            supervisor.kill()
            caller.kill()


def test_a_removed_run_is_gone_and_so_is_its_empty_experiment(tmp_path: Path) -> None:
    run = create_run(tmp_path, "digits", {"process": ALIVE})
    with pytest.raises(InputError, match="cancel it first"):
        remove_run(run)
    remove_run(update_run(run, state="Completed"))
    assert not (tmp_path / "runs/digits").exists()


def test_runs_of_one_second_are_in_the_order_of_their_making(tmp_path: Path) -> None:
    made = []
    for _ in range(5):
        made.append(create_run(tmp_path, "digits", {"process": ALIVE}).run_id)
        time.sleep(0.002)
    assert [run.run_id for run in list_runs(tmp_path)] == made[::-1]


def test_the_portal_is_the_studio_while_it_is_up(tmp_path: Path) -> None:
    run = create_run(tmp_path, "digits", {"process": ALIVE})
    assert portal_url(run) == f"file://{run.folder}"
    (tmp_path / "studio.json").write_text(json.dumps({"url": "http://127.0.0.1:7/", **ALIVE}))
    assert portal_url(run) == f"http://127.0.0.1:7/runs/digits/{run.run_id}"
    (tmp_path / "studio.json").write_text(json.dumps({"url": "http://127.0.0.1:7/", "pid": os.getpid(), "start": "1"}))
    assert portal_url(run) == f"file://{run.folder}"
