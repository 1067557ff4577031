"""Runs given to TensorBoard and MLflow, read back with their own readers."""

import json
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from envbuild.errors import ExportError, InputError
from envbuild.trainer.export_mlflow import export_mlflow, mlflow_names
from envbuild.trainer.export_tensorboard import export_tensorboard
from envbuild.trainer.metrics import read_run
from envbuild.trainer.run import RunRecord, create_run, update_run


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(4 * width) for _ in range(height))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def new_run(home: Path, *lines: Mapping[str, object], **document: Any) -> RunRecord:
    run = create_run(home, "digits", {"parameters": {"lr": 0.1}, "tags": {"kind": "test"}, **document})
    whole = [{"s": number, "t": 1000.0 + number, **line} for number, line in enumerate(lines)]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in whole))
    return update_run(run, state="Completed", started="2026-11-24T10:00:00Z", ended="2026-11-24T11:00:00Z")


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    run = new_run(
        tmp_path / "home",
        {"k": "loss", "v": 2.5},
        {"k": "loss", "v": 1.5},
        {"k": "loss", "v": "NaN"},
        {"k": "loss", "v": 1e300},
        {"k": "loss", "v": 7.0, "rank": 1},
        {"k": "phase", "v": "warm-up"},
        {"k": "table", "kind": "table", "v": {"x": [1, 2]}},
        {"k": "curve", "kind": "image", "v": "images/curve.png", "s": None},
        {"k": "curve", "kind": "image", "v": "images/curve.png", "s": None},
        {"k": "child", "kind": "child", "v": {"parent": "", "name": "fold 1"}, "run": "../abc"},
        {"k": "loss", "v": 9.0, "run": "../abc"},
        {"k": "status", "kind": "status", "v": "Failed", "run": "../abc"},
    )
    (run.folder / "images/curve.png").write_bytes(png(3, 2))
    (run.outputs / "deep").mkdir()
    (run.outputs / "deep/model.bin").write_text("weights")
    (run.outputs / "link").symlink_to("/etc/passwd")
    return run


def accumulated(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def test_tensorboard_reads_every_point(tmp_path: Path, run: RunRecord) -> None:
    folder = export_tensorboard(run, tmp_path / "events")
    assert folder == tmp_path / "events/digits" / run.run_id
    events = accumulated(folder).Scalars("loss")
    assert [(event.step, event.wall_time) for event in events] == [(step, 1000.0 + step) for step in range(4)]
    assert [event.value for event in events[:2]] == [2.5, 1.5]
    assert math.isnan(events[2].value) and events[3].value == math.inf


def test_tensorboard_has_a_run_for_each_writer_and_none_outside(tmp_path: Path, run: RunRecord) -> None:
    export_tensorboard(run, tmp_path / "events")
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "events"))
    multiplexer.Reload()
    own = f"digits/{run.run_id}"
    assert sorted(multiplexer.Runs()) == [own, f"{own}/abc", f"{own}/rank-1"]
    assert [event.value for event in multiplexer.Scalars(f"{own}/abc", "loss")] == [9.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", "home"]


def test_tensorboard_has_images_texts_and_parameters(tmp_path: Path, run: RunRecord) -> None:
    accumulator = accumulated(export_tensorboard(run, tmp_path / "events"))
    image, second = accumulator.Images("curve")
    assert (image.step, second.step) == (0, 1)
    assert (image.width, image.height, image.encoded_image_string) == (3, 2, png(3, 2))
    assert accumulator.PluginTagToContent("text").keys() == {"phase", "table", "parameters"}
    (text,) = accumulator.Tensors("phase")
    assert list(text.tensor_proto.string_val) == [b"warm-up"]
    (table,) = accumulator.Tensors("parameters")
    assert b"| lr | 0.1 |" in table.tensor_proto.string_val[0]


def test_exporting_again_doubles_nothing(tmp_path: Path, run: RunRecord) -> None:
    for _ in range(2):
        folder = export_tensorboard(run, tmp_path / "events")
    assert len(accumulated(folder).Scalars("loss")) == 4


def test_our_own_reader_reads_what_was_exported(tmp_path: Path, run: RunRecord) -> None:
    folder = export_tensorboard(run, tmp_path / "again/outputs")
    found = read_run(tmp_path / "again")
    assert folder.is_dir()
    series = next(each for key, each in found.series.items() if key.run == f"digits/{run.run_id}")
    assert series.values[:2] == [2.5, 1.5]


def sent(folder: Path) -> dict[str, Run]:
    """Every run that MLflow finds, by name."""
    client = MlflowClient(folder.as_uri())
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return {found.info.run_name: found for found in client.search_runs(ids, run_view_type=ViewType.ACTIVE_ONLY)}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return tmp_path / "mlruns"


def test_mlflow_reads_metrics_parameters_tags_and_status(store: Path, run: RunRecord) -> None:
    exported = export_mlflow(run, str(store))
    client = MlflowClient(store.as_uri())
    there = client.get_run(exported.mlflow_run_id)
    assert client.get_experiment(there.info.experiment_id).name == "digits"
    assert (there.info.run_name, there.info.status) == (run.run_id, "FINISHED")
    assert there.info.end_time - there.info.start_time == 3_600_000
    assert there.data.params == {"lr": "0.1"}
    assert (there.data.tags["kind"], there.data.tags["envbuild.run_id"]) == ("test", run.run_id)
    history = client.get_metric_history(exported.mlflow_run_id, "loss")
    assert [(point.step, point.timestamp) for point in history] == [
        (step, 1_000_000 + 1000 * step) for step in range(4)
    ]
    assert [history[0].value, history[1].value, history[3].value] == [2.5, 1.5, 1e300]
    assert math.isnan(history[2].value)
    assert [point.value for point in client.get_metric_history(exported.mlflow_run_id, "loss rank 1")] == [7.0]


def test_no_tag_of_a_script_makes_a_run_another_one_or_has_it_removed(tmp_path: Path, store: Path) -> None:
    victim = new_run(tmp_path / "home")
    forged = {"envbuild.run_id": victim.run_id, "envbuild.part_of": victim.run_id, "mlflow.parentRunId": "x", "a": "b"}
    for run in ("", "child"):
        tags = {"k": "tags", "kind": "tags", "v": forged, **({"run": run} if run else {})}
        exported = export_mlflow(new_run(tmp_path / "home", tags), str(store))
        there = MlflowClient(store.as_uri()).get_run(exported.mlflow_run_id)
        assert there.data.tags["envbuild.run_id"] != victim.run_id
    assert not export_mlflow(victim, str(store)).reused
    assert [found.data.tags.get("a") for found in sent(store).values()].count("b") == 2


def test_mlflow_has_the_files_and_no_link_s_target(store: Path, run: RunRecord) -> None:
    exported = export_mlflow(run, str(store))
    client = MlflowClient(store.as_uri())
    names = {item.path for item in client.list_artifacts(exported.mlflow_run_id)}
    assert names == {"70_driver_log.txt", "run.json", "metrics.jsonl", "outputs", "images"}
    (artifacts,) = store.glob(f"*/{exported.mlflow_run_id}/artifacts")
    files = sorted(
        path.relative_to(artifacts).as_posix() for path in (artifacts / "outputs").rglob("*") if path.is_file()
    )
    assert files == ["outputs/deep/model.bin"]


def test_a_child_run_is_mlflow_s_child(store: Path, run: RunRecord) -> None:
    exported = export_mlflow(run, str(store))
    child = sent(store)["fold 1"]
    assert child.data.tags["mlflow.parentRunId"] == exported.mlflow_run_id
    assert (child.info.status, child.data.metrics) == ("FAILED", {"loss": 9.0})


def test_a_child_run_s_own_files_go_to_mlflow_s_child_and_no_links(tmp_path: Path, store: Path) -> None:
    run = new_run(
        tmp_path, {"k": "child", "kind": "child", "v": {"name": "fold 1", "files": "children/fold-1"}, "run": "a"}
    )
    folder = run.folder / "children/fold-1"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/model.bin").write_text("weights")
    (folder / "link").symlink_to("/etc/passwd")
    export_mlflow(run, str(store))
    (artifacts,) = store.glob(f"*/{sent(store)['fold 1'].info.run_id}/artifacts")
    files = {path.relative_to(artifacts).as_posix(): path.read_text() for path in artifacts.rglob("*.*")}
    assert files == {"deep/model.bin": "weights"}


def test_children_of_children_and_tensorboards_folders_keep_their_place(tmp_path: Path, store: Path) -> None:
    nested = new_run(
        tmp_path,
        {"k": "child", "kind": "child", "v": {"parent": "", "name": "outer"}, "run": "a"},
        {"k": "child", "kind": "child", "v": {"parent": "a", "name": "inner"}, "run": "b"},
    )
    (nested.outputs / "validation").mkdir()
    event = export_tensorboard(new_run(tmp_path, {"k": "loss", "v": 4.0}), tmp_path / "events")
    (file,) = event.glob("events.out.*")
    (nested.outputs / "validation" / file.name).write_bytes(file.read_bytes())
    exported = export_mlflow(nested, str(store))
    there = sent(store)
    assert there["outer"].data.tags["mlflow.parentRunId"] == exported.mlflow_run_id
    assert there["inner"].data.tags["mlflow.parentRunId"] == there["outer"].info.run_id
    assert there[nested.run_id].data.metrics == {"validation/loss": 4.0}


def test_more_points_than_one_call_may_carry(tmp_path: Path, store: Path) -> None:
    long = new_run(tmp_path, *[{"k": "loss", "v": float(step)} for step in range(2500)])
    exported = export_mlflow(long, str(store))
    history = MlflowClient(store.as_uri()).get_metric_history(exported.mlflow_run_id, "loss")
    assert [point.value for point in history] == [float(step) for step in range(2500)]


def test_what_is_there_is_not_sent_twice(store: Path, run: RunRecord) -> None:
    first = export_mlflow(run, str(store))
    second = export_mlflow(run, str(store))
    assert (second.mlflow_run_id, first.reused, second.reused) == (first.mlflow_run_id, False, True)
    assert len(sent(store)) == 2


def test_what_an_interrupted_export_left_is_replaced(
    store: Path, run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", interrupted)
        with pytest.raises(KeyboardInterrupt):
            export_mlflow(run, str(store))
    assert sent(store)[run.run_id].info.status == "RUNNING"
    exported = export_mlflow(run, str(store))
    assert {name: there.info.status for name, there in sent(store).items()} == {
        run.run_id: "FINISHED",
        "fold 1": "FAILED",
    }
    assert sent(store)[run.run_id].info.run_id == exported.mlflow_run_id


def test_a_run_that_goes_on_is_refused(store: Path, run: RunRecord) -> None:
    with pytest.raises(InputError, match="is Running; it can be sent to MLflow once it has ended"):
        export_mlflow(update_run(run, state="Running"), str(store))


def test_a_server_that_is_not_there_is_a_sentence(run: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ExportError, match=f"{run.run_id} could not be sent to http://127.0.0.1:9: "):
        export_mlflow(run, "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["loss", "val/loss", "a b-c.d:e"], ["loss", "val/loss", "a b-c.d:e"]),
        (["perda de validação"], ["perda de validação"]),
        (["a", "a/b", "a/b/c"], ["a", "a_b", "a_b_c"]),
        (["a_b", "a", "a/b"], ["a_b", "a", "a_b 2"]),
        (["a<", "a>"], ["a_", "a_ 2"]),
        (["../../etc", "/etc", "..", ".", "", "a//b"], ["______etc", "_etc", "__", "_", "_ 2", "a__b"]),
    ],
)
def test_names_are_changed_as_little_as_mlflow_asks_for(names: list[str], expected: list[str]) -> None:
    assert mlflow_names(names) == expected


@given(st.lists(st.text(alphabet="ab/._ <é", max_size=6), unique=True))
def test_names_stay_different_and_are_allowed(names: list[str]) -> None:
    from mlflow.utils.validation import _validate_metric_name

    found = mlflow_names(names)
    assert len(set(found)) == len(names)
    for name in found:
        _validate_metric_name(name)
        assert not any(other.startswith(f"{name}/") for other in found)
