"""metrics.jsonl read into the model: whatever a job wrote, what can be read is read, and nothing is read twice."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuild.trainer.metrics import Entry, RunMetrics, Series, SeriesKey, read_run


def write(folder: Path, *lines: str) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def curve(found: RunMetrics, name: str) -> tuple[list[int], list[float]]:
    series = found.main(name)
    assert series is not None
    return series.steps, series.values


def test_no_file_is_no_metrics(tmp_path: Path) -> None:
    assert read_run(tmp_path) == RunMetrics()


def test_points_keep_their_order_step_and_time(tmp_path: Path) -> None:
    write(tmp_path, '{"k":"loss","v":2.5,"s":0,"t":10.0}', '{"k":"loss","v":1.5,"s":7,"t":11.5}')
    assert read_run(tmp_path).series == {SeriesKey("loss"): Series(SeriesKey("loss"), [0, 7], [2.5, 1.5], [10.0, 11.5])}


def test_numbers_of_every_kind_stay_in_order(tmp_path: Path) -> None:
    write(
        tmp_path,
        '{"k":"loss","v":1.5,"s":0,"t":1.0}',
        '{"k":"loss","v":"Infinity","s":1,"t":1.0}',
        '{"k":"loss","v":2.5,"s":2,"t":1.0,"new":0}',
        '{"k":"loss","v":3,"s":3,"t":1.0}',
        '{"k":"loss","v":4.5,"s":4,"t":1}',
    )
    assert curve(read_run(tmp_path), "loss") == ([0, 1, 2, 3, 4], [1.5, math.inf, 2.5, 3, 4.5])


def test_each_rank_process_and_child_has_a_curve_of_its_own(tmp_path: Path) -> None:
    write(
        tmp_path,
        '{"k":"loss","v":9.0,"s":0,"t":1.0,"run":"fold-1"}',
        '{"k":"loss","v":2.0,"s":0,"t":1.0,"rank":1}',
        '{"k":"loss","v":1.0,"s":0,"t":1.0,"rank":0}',
        '{"k":"loss","v":3.0,"s":0,"t":1.0,"process":17}',
    )
    found = read_run(tmp_path)
    assert {(key.run, key.rank, key.process): series.values for key, series in found.series.items()} == {
        ("fold-1", None, None): [9.0],
        ("", 1, None): [2.0],
        ("", 0, None): [1.0],
        ("", None, 17): [3.0],
    }
    assert curve(found, "loss") == ([0], [1.0])  # rank 0 stands for the run


def test_what_is_no_number_is_read_back(tmp_path: Path) -> None:
    write(
        tmp_path,
        '{"k":"a","v":"NaN","s":0,"t":1}',
        '{"k":"a","v":"-Infinity","s":1,"t":1}',
        '{"k":"a","v":true,"s":2,"t":1}',
    )
    _, values = curve(read_run(tmp_path), "a")
    assert math.isnan(values[0]) and values[1:] == [-math.inf, 1.0]


def test_a_text_is_an_entry_beside_the_numbers_of_its_name(tmp_path: Path) -> None:
    write(tmp_path, '{"k":"phase","v":"warm-up","s":0,"t":1.0}', '{"k":"phase","v":2,"s":1,"t":2.0}')
    found = read_run(tmp_path)
    assert found.entries == [Entry("phase", "text", "warm-up", 1.0, step=0)]
    assert curve(found, "phase") == ([1], [2])


def test_tags_children_and_how_they_ended_are_notes(tmp_path: Path) -> None:
    write(
        tmp_path,
        '{"k":"tags","kind":"tags","v":{"model":"net","seed":3,"empty":null},"t":1}',
        '{"k":"properties","kind":"properties","v":{"data":"v1"},"t":1}',
        '{"k":"child","kind":"child","v":{"parent":"","name":"fold"},"run":"fold-1","t":1}',
        '{"k":"status","kind":"status","v":"Failed","error":"no data","run":"fold-1","t":2}',
    )
    notes = read_run(tmp_path).notes
    assert notes[""].tags == {"model": "net", "seed": "3", "empty": ""}
    assert notes[""].properties == {"data": "v1"}
    child = notes["fold-1"]
    assert (child.parent, child.name, child.status, child.error) == ("", "fold", "Failed", "no data")


def test_a_torn_last_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"k":"loss","v":2.5,"s":0,"t":10.0}\n{"k":"loss","v":1.')
    first = read_run(tmp_path)
    assert curve(first, "loss") == ([0], [2.5])
    with file.open("a") as more:
        more.write('5,"s":1,"t":11.0}\n')
    second = read_run(tmp_path, since=first.cursor)
    assert curve(second, "loss") == ([1], [1.5])
    assert read_run(tmp_path, since=second.cursor).series == {}


def test_what_was_read_in_parts_is_what_is_read_at_once(tmp_path: Path) -> None:
    whole = RunMetrics()
    for step in range(5):
        write(tmp_path, f'{{"k":"loss","v":{step}.5,"s":{step},"t":1.0}}')
        write(tmp_path, f'{{"k":"row","kind":"row","v":{{"x":{step}}},"t":1.0}}')
        whole.extend(read_run(tmp_path, since=whole.cursor))
    assert whole == read_run(tmp_path)
    assert len(whole.entries) == 5


@pytest.mark.parametrize(
    "damaged",
    [
        "", "{", "null", "7", '"text"', "[1,2,3,4]", "{}", '{"k":"loss"}', "\x00\x00\x00", "\ufffd", "[" * 2000,
        '{"k":"loss","v":[],"s":0,"t":1}', '{"k":"loss","v":1,"s":"x","t":1}', '{"k":"loss","v":1,"s":0,"t":{}}',
        '{"k":"loss","v":null,"s":0,"t":1}', '{"k":["loss"],"v":1,"s":0,"t":1}', '{"k":"loss","v":1,"s":1e400,"t":1}',
        '{"k":"tags","kind":"tags","v":3,"t":1}', '{"k":"child","kind":"child","v":[],"t":1}',
        '{"k":"x","kind":"list","v":[1]}', '{"k":{},"kind":7}', '{"k":"loss","v":1,"s":NaN,"t":1}',
    ],
)  # fmt: skip
def test_a_damaged_line_hides_no_other(tmp_path: Path, damaged: str) -> None:
    good = '{"k":"loss","v":%d.5,"s":%d,"t":1.0}'
    write(tmp_path, good % (1, 1), damaged, good % (2, 2))
    assert curve(read_run(tmp_path), "loss") == ([1, 2], [1.5, 2.5])


def test_only_some_metrics_can_be_asked_for(tmp_path: Path) -> None:
    names = ["loss", "loss2", 'lo"ss', "perdição", "a\\b"]
    write(tmp_path, *[json.dumps({"k": name, "v": 1.0, "s": 0, "t": 1.0}, separators=(",", ":")) for name in names])
    write(tmp_path, '{ "v": 2.0, "s": 1, "k": "loss", "t": 1.0 }', '{"k":"loss","kind":"list","v":[1],"t":1}')
    for name in names:
        found = read_run(tmp_path, only=[name])
        assert found.names() == [name]
        assert found.entries == []
    assert curve(read_run(tmp_path, only=["loss"]), "loss") == ([0, 1], [1.0, 2.0])


LINES = st.sampled_from(
    [
        '{"k":"loss","v":1.5,"s":%d,"t":1.0}',
        '{"k":"loss","v":2,"s":%d,"t":2}',
        '{"k":"loss","v":"NaN","s":%d,"t":1.0}',
        '{"k":"loss","v":1e400,"s":%d,"t":1.0}',
        '{"k":"loss","v":1.5,"s":%d,"t":1.0,"rank":1}',
        '{"k":"loss","v":true,"s":%d,"t":1.0}',
        '{"k":"loss","v":1.5,"s":1.5,"t":%d}',
        '{"k":"loss","v":[1,2,3],"s":%d,"t":1.0}',
        '{"k":"other","v":1.5,"s":%d,"t":1.0}',
        '{"k":"loss","v":1.5,"s":%d',
        '{"k":"loss","kind":"row","v":{"a":%d},"t":1.0}',
        "",
    ]
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES, max_size=6))
def test_one_metric_alone_is_read_as_with_all_others(tmp_path: Path, lines: list[str]) -> None:
    text = "".join(f"{line % step if '%d' in line else line}\n" for step, line in enumerate(lines))
    (tmp_path / "metrics.jsonl").write_text(text)
    alone, every = read_run(tmp_path, only=["loss"]), read_run(tmp_path)
    assert repr(list(alone.series.values())) == repr(list(every.of("loss")))  # repr: NaN equals nothing


def test_a_line_longer_than_what_is_read_at_a_time_is_read(tmp_path: Path) -> None:
    big = list(range(1_000_000))
    write(tmp_path, json.dumps({"k": "big", "kind": "list", "v": big, "t": 1.0}), '{"k":"a","v":1,"s":0,"t":1}')
    found = read_run(tmp_path)
    assert found.entries[0].value == big
    assert curve(found, "a") == ([0], [1])


@pytest.mark.parametrize("offset", [-1, 5, 10**12])
def test_a_cursor_from_elsewhere_does_no_harm(tmp_path: Path, offset: int) -> None:
    write(tmp_path, '{"k":"loss","v":1.0,"s":0,"t":1.0}')
    assert isinstance(read_run(tmp_path, since={"metrics.jsonl": offset}), RunMetrics)


def test_a_link_or_a_pipe_in_its_place_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_text('{"k":"loss","v":1.0,"s":0,"t":1.0}\n')
    for name, make in (("link", lambda at: at.symlink_to(secret)), ("pipe", os.mkfifo)):
        folder = tmp_path / name
        folder.mkdir()
        make(folder / "metrics.jsonl")
        assert read_run(folder) == RunMetrics()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(
    st.sampled_from(["k", "v", "s", "t", "kind", "run", "rank", "process", "error", "new"]), json_values
) | st.fixed_dictionaries({"k": st.text(), "v": st.floats() | st.integers(), "s": st.integers(), "t": st.floats()})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(records | json_values), st.integers(0, 2000))
def test_reading_never_fails_and_parts_add_up(tmp_path: Path, documents: list[Any], cut: int) -> None:
    data = b"".join(json.dumps(document).encode() + b"\n" for document in documents)
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(data[:cut])
    parts = read_run(tmp_path)
    file.write_bytes(data)
    parts.extend(read_run(tmp_path, since=parts.cursor))
    whole = read_run(tmp_path)
    assert repr(parts.series) == repr(whole.series) or {k: repr(v) for k, v in parts.series.items()} == {
        k: repr(v) for k, v in whole.series.items()
    }
    assert repr(parts.entries) == repr(whole.entries)
    assert parts.cursor == whole.cursor


def test_lines_of_another_writer_are_asked_for_by_name_too(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"k": "loss", "v": 1.0, "s": 0, "t": 1.0}\n'
        '{"k":"other","v":2.0,"s":0,"t":1.0}\n'
        '{"k":"loss","v":3.0,"s":1,"t":1.0}\n'
    )
    assert read_run(tmp_path, only=["loss"]).series[SeriesKey("loss")].values == [1.0, 3.0]


DEEP = "[" * 1000 + "]" * 1000


@pytest.mark.parametrize(
    "line",
    [
        f'{{"k":{DEEP},"v":1,"s":0,"t":1}}',
        f'{{"k":"loss","v":1,"s":0,"t":1,"run":{DEEP}}}',
        f'{{"k":"status","kind":"status","v":{DEEP},"t":1,"run":"c"}}',
        f'{{"k":"child","kind":"child","v":{{"name":{DEEP}}},"t":1,"run":"c"}}',
        f'{{"k":"list","kind":"list","v":{DEEP},"t":1}}',
        f'{{"k":"list","kind":{DEEP},"v":[],"t":1}}',
    ],
)  # fmt: skip
def test_what_is_nested_without_end_is_passed_over(tmp_path: Path, line: str) -> None:
    write(tmp_path, line, '{"k":"loss","v":2.0,"s":0,"t":1.0}')
    found = read_run(tmp_path)
    assert (curve(found, "loss"), found.entries, found.notes) == (([0], [2.0]), [], {})


@pytest.mark.parametrize("time", ['"NaN"', '"Infinity"', "1e300", "-1e12", "253402300800"])
@pytest.mark.parametrize(
    "begin",
    ['"k":"loss","v":1.0,"s":0', '"k":"c","kind":"child","v":{},"run":"c"',
     '"k":"s","kind":"status","v":"Failed","run":"c"', '"k":"list","kind":"list","v":[1]'],
)  # fmt: skip
def test_what_has_a_time_that_no_date_can_show_is_passed_over(tmp_path: Path, begin: str, time: str) -> None:
    write(tmp_path, f'{{{begin},"t":{time}}}', '{"k":"loss","v":2.0,"s":1,"t":1.0}')
    for only in (None, ["loss"]):
        found = read_run(tmp_path, only=only)
        assert (curve(found, "loss"), found.entries, found.notes) == (([1], [2.0]), [], {})


@pytest.mark.parametrize("step", ["1e300", "9223372036854775808", '"9223372036854775808"', "-1e19"])
def test_a_step_of_more_than_64_bits_is_passed_over(tmp_path: Path, step: str) -> None:
    write(tmp_path, f'{{"k":"loss","v":1.0,"s":{step},"t":1.0}}', '{"k":"loss","v":2.0,"s":1,"t":1.0}')
    for only in (None, ["loss"]):
        assert curve(read_run(tmp_path, only=only), "loss") == ([1], [2.0])


def test_a_hole_of_terabytes_is_passed_over_in_no_time(tmp_path: Path) -> None:
    write(tmp_path, '{"k":"loss","v":1.0,"s":0,"t":1.0}')
    with (tmp_path / "metrics.jsonl").open("r+b") as file:
        file.seek(1 << 43)
        file.write(b'\n{"k":"loss","v":2.0,"s":1,"t":1.0}\n')
    found = read_run(tmp_path)
    assert curve(found, "loss") == ([0, 1], [1.0, 2.0])
    assert found.cursor["metrics.jsonl"] == (tmp_path / "metrics.jsonl").stat().st_size
