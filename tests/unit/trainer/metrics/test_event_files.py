"""Event files, written by TensorBoard's own writer, read by us."""

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from envbuild.errors import NotFound
from envbuild.trainer.metrics import Entry, SeriesKey, Stored, read_run
from envbuild.trainer.metrics.event_files import read_stored
from envbuild.trainer.metrics.event_values import Histogram, Images
from envbuild.trainer.metrics.protobuf import bytes_field
from envbuild.trainer.metrics.tfrecord import LONGEST, framed, masked_crc


def write(folder: Path, *events: Event) -> Path:
    writer = EventFileWriter(str(folder))
    for event in events:
        writer.add_event(event)
    writer.close()
    return next(folder.glob("events.out.tfevents.*"))


def scalar(tag: str, value: float, step: int, time: float = 5.0) -> Event:
    return Event(wall_time=time, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))


def tensor(tag: str, array: object, plugin: str = "scalars", step: int = 0) -> Event:
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))
    value = Summary.Value(tag=tag, tensor=make_tensor_proto(array), metadata=metadata)
    return Event(wall_time=5.0, step=step, summary=Summary(value=[value]))


def key(name: str, run: str = "") -> SeriesKey:
    return SeriesKey(name, run, source="tensorboard")


def test_scalars_of_every_folder_are_found(tmp_path: Path) -> None:
    write(tmp_path / "outputs", scalar("loss", 2.5, 0, 1.0), scalar("loss", 1.5, 7, 2.0))
    write(tmp_path / "tensorboard/Nov24_host/validation", scalar("loss", 3.5, 0))
    found = read_run(tmp_path).series
    assert found.keys() == {key("loss"), key("loss", "Nov24_host/validation")}
    series = found[key("loss")]
    assert (series.steps, series.values, series.times) == ([0, 7], [2.5, 1.5], [1.0, 2.0])


@pytest.mark.parametrize(
    "array",
    [np.float32(1.5), np.float64(1.5), np.float16(1.5), np.array([1.5], np.float32), 1.5],
    ids=["float32", "float64", "float16", "array", "python"],
)
def test_scalars_as_tensors_of_any_float(tmp_path: Path, array: object) -> None:
    write(tmp_path / "outputs", tensor("loss", array))
    assert read_run(tmp_path).series[key("loss")].values == [1.5]


@pytest.mark.parametrize("array", [np.int32(-3), np.int64(-3)], ids=["int32", "int64"])
def test_scalars_as_tensors_of_whole_numbers(tmp_path: Path, array: object) -> None:
    write(tmp_path / "outputs", tensor("epoch", array))
    assert read_run(tmp_path).series[key("epoch")].values == [-3.0]


def histogram(tag: str, limits: list[float], counts: list[float], low: float, high: float, step: int = 0) -> Event:
    """As PyTorch's and TensorBoardX's writers make it."""
    proto = HistogramProto(min=low, max=high, num=sum(counts), bucket_limit=limits, bucket=counts)
    return Event(wall_time=5.0, step=step, summary=Summary(value=[Summary.Value(tag=tag, histo=proto)]))


def image(tag: str, data: bytes, step: int = 0) -> Event:
    proto = Summary.Image(height=1, width=1, colorspace=3, encoded_image_string=data)
    return Event(wall_time=5.0, step=step, summary=Summary(value=[Summary.Value(tag=tag, image=proto)]))


def contents(folder: Path) -> list[object]:
    return [read_stored(folder, stored) for stored in read_run(folder).stored]


def test_histograms_of_pytorch_and_tensorflow_are_read_when_asked_for(tmp_path: Path) -> None:
    rows = np.array([[-1.0, 0.0, 3.0], [0.0, 2.0, 4.0]])
    write(
        tmp_path / "outputs",
        histogram("weights", [0.0, 1.0, 1.7e308], [3.0, 0.0, 4.0], low=-2.0, high=5.0, step=7),
        tensor("kernel", rows, "histograms", step=8),
        tensor("kernel", rows.astype(np.float32), "histograms", step=9),
    )
    assert [(each.name, each.kind, each.step) for each in read_run(tmp_path).stored] == [
        ("weights", "histogram", 7), ("kernel", "histogram", 8), ("kernel", "histogram", 9),
    ]  # fmt: skip
    kernel = Histogram(((-1.0, 0.0, 3.0), (0.0, 2.0, 4.0)))
    assert contents(tmp_path) == [Histogram(((-2.0, 0.0, 3.0), (1.0, 5.0, 4.0))), kernel, kernel]


def test_images_of_pytorch_and_tensorflow_are_read_when_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "tensorboard/a", image("digits", b"png"), tensor("grid", [b"2", b"1", b"one", b"two"], "images"))
    assert contents(tmp_path) == [Images((b"png",)), Images((b"one", b"two"))]
    assert {each.run for each in read_run(tmp_path).stored} == {"a"}


def test_a_hostile_histogram_has_no_bars_that_cannot_be_drawn(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    write(
        tmp_path / "outputs",
        histogram("a", [0.0, nan, 3.0, 2.0, inf], [1.0, 1.0, -1.0, 1.0, 1.0], low=-inf, high=inf),
        histogram("b", [0.0] * 6000, [1.0] * 6000, low=0.0, high=0.0),
        histogram("c", [0.0, 1.0], [1.0], low=0.0, high=0.0),
        tensor("d", np.zeros((4, 2)), "histograms"),
        tensor("e", np.zeros(30_000), "histograms"),
    )
    assert contents(tmp_path) == [Histogram(())]


def test_what_was_stored_and_is_not_there_any_more_is_a_sentence(tmp_path: Path) -> None:
    file = write(tmp_path / "outputs", image("digits", b"png"))
    (stored,) = read_run(tmp_path).stored
    for gone in (
        stored._replace(position=stored.position + 1), stored._replace(value=1), stored._replace(file="../x"),
        stored._replace(file="outputs/x.txt"), stored._replace(position=1 << 50),
    ):  # fmt: skip
        with pytest.raises(NotFound, match="holds no histogram or picture at byte"):
            read_stored(tmp_path, gone)
    file.unlink()
    with pytest.raises(NotFound):
        read_stored(tmp_path, stored)


@pytest.mark.parametrize("position", [-1, 1 << 40, 1 << 70])
def test_a_place_that_no_file_has_is_a_sentence(tmp_path: Path, position: int) -> None:
    name = str(write(tmp_path / "outputs", scalar("loss", 1.0, 0)).relative_to(tmp_path))
    with pytest.raises(NotFound, match="holds no histogram or picture"):
        read_stored(tmp_path, Stored("loss", "image", 0.0, 0, "", name, position, 0))


@pytest.mark.parametrize("time", [float("nan"), float("inf"), 1e300])
def test_an_event_at_no_time_is_left_out(tmp_path: Path, time: float) -> None:
    write(tmp_path / "outputs", scalar("loss", 1.0, 0, time=time), scalar("loss", 2.0, 1))
    assert [series.values for series in read_run(tmp_path).series.values()] == [[2.0]]


def test_texts_are_entries_and_other_tensors_are_left_alone(tmp_path: Path) -> None:
    write(
        tmp_path / "outputs",
        tensor("notes", ["hello"], plugin="text", step=3),
        tensor("curve", np.zeros((6, 10), np.float32), plugin="pr_curves"),
    )
    found = read_run(tmp_path)
    assert found.entries == [Entry("notes", "text", "hello", 5.0, step=3)]
    assert found.series == {}


def test_reading_goes_on_where_it_stopped_also_in_a_torn_record(tmp_path: Path) -> None:
    file = write(tmp_path / "outputs", *[scalar("loss", step, step) for step in range(5)])
    data = file.read_bytes()
    cut = len(data) - 5
    file.write_bytes(data[:cut])
    found = read_run(tmp_path)
    assert found.series[key("loss")].steps == [0, 1, 2, 3]
    (problem,) = found.problems.values()
    assert problem.unfinished and "the file ends" in problem.text
    file.write_bytes(data)
    more = read_run(tmp_path, since=found.cursor)
    assert more.series[key("loss")].steps == [4]
    assert read_run(tmp_path, since=more.cursor).series == {}


def test_a_record_with_damaged_bytes_is_passed_over(tmp_path: Path) -> None:
    file = write(tmp_path / "outputs", *[scalar("loss", step, step) for step in range(3)])
    data = bytearray(file.read_bytes())
    data[-len(framed(scalar("loss", 2, 2).SerializeToString())) - 5] ^= 1  # in the middle one
    file.write_bytes(data)
    found = read_run(tmp_path)
    assert found.series[key("loss")].steps == [0, 2]
    (problem,) = found.problems.values()
    assert "are damaged; it is left out" in problem.text and not problem.unfinished


def test_nothing_is_read_behind_a_damaged_length(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    good = framed(scalar("loss", 1.0, 1).SerializeToString())
    (outputs / "events.out.tfevents.1").write_bytes(good + struct.pack("<QI", 1 << 60, 7) + good)
    found = read_run(tmp_path)
    assert found.series[key("loss")].steps == [1]
    assert found.problems["outputs/events.out.tfevents.1"].text == (
        f"the length of the record at byte {len(good)} is damaged; nothing behind it can be read"
    )


@pytest.mark.parametrize("length", [1 << 40, LONGEST + 1])
def test_a_length_that_a_file_with_holes_has_costs_no_memory(tmp_path: Path, length: int) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    good = framed(scalar("loss", 1.0, 1).SerializeToString())
    head = struct.pack("<Q", length)
    with (outputs / "events.out.tfevents.1").open("wb") as file:
        file.write(head + struct.pack("<I", masked_crc(head)))
        file.truncate(12 + length + 4)  # takes no room on the disk
        file.seek(0, 2)
        file.write(good)
    tracemalloc.start()
    try:
        found = read_run(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert found.series[key("loss")].steps == [1]  # what comes behind it is still read
    assert f"has {length} bytes, more than" in found.problems["outputs/events.out.tfevents.1"].text


@pytest.mark.parametrize("field", [b"\x0a\x02ab", b"\x08\x01"], ids=["texts", "numbers"])
def test_a_record_of_millions_of_fields_is_no_event(tmp_path: Path, field: bytes) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    inner = field * 1_000_000
    value = bytes_field(5, bytes_field(1, inner))  # a value of a summary
    (outputs / "events.out.tfevents.1").write_bytes(framed(inner) + framed(value))
    tracemalloc.start()
    try:
        found = read_run(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()
    assert "is no event; it is left out" in found.problems["outputs/events.out.tfevents.1"].text


def test_only_some_metrics_can_be_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "outputs", scalar("loss", 1.0, 0), scalar("other", 1.0, 0), tensor("loss", ["text"], "text"))
    found = read_run(tmp_path, only=["loss"])
    assert (found.names(), found.entries) == (["loss"], [])


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", scalar("loss", 1.0, 0))
    run = tmp_path / "run"
    run.mkdir()
    (run / "outputs").symlink_to(tmp_path / "elsewhere")
    assert read_run(run).series == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary()), st.binary())
def test_whatever_is_framed_there_reading_never_fails(tmp_path: Path, records: list[bytes], rest: bytes) -> None:
    (tmp_path / "outputs").mkdir(exist_ok=True)
    (tmp_path / "outputs/events.out.tfevents.1").write_bytes(b"".join(map(framed, records)) + rest)
    read_run(tmp_path)
