"""What a job used as curves: rates from counters, and only what is new."""

import json
from pathlib import Path

from envbuild.studio.charts import Growth
from envbuild.studio.resource_charts import FILE, resource_curves


def line(t: float, cpu: float, memory: int, *gpus: tuple[int, int]) -> str:
    known = [{"index": index, "utilization": used, "memory": 5 * 10**8} for index, used in gpus]
    return json.dumps({"t": t, "cpu_seconds": cpu, "memory": memory, "gpus": known}) + "\n"


def values(folder: Path, cursor: dict[str, int], limit: int = 100) -> dict[str, list[float | None]]:
    return {f"{curve['name']} {curve['label']}": curve["values"] for curve in resource_curves(folder, cursor, limit)}


def test_processors_in_use_are_the_slope_of_processor_time(tmp_path: Path) -> None:
    text = line(0.0, 0.0, 10**9) + line(2.0, 3.0, 2 * 10**9) + line(4.0, 3.0, 3 * 10**9) + '{"t": 5.0, "cpu'
    (tmp_path / FILE).write_text(text)
    assert values(tmp_path, {}) == {"processors ": [1.5, 0.0], "memory, GB ": [2.0, 3.0]}


def test_each_gpu_has_a_curve(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(line(0.0, 0.0, 1) + line(1.0, 0.0, 1, (0, 50), (1, 70)) + line(2.0, 0.0, 1, (1, 90)))
    found = values(tmp_path, {})
    assert (found["GPU, % GPU 0"], found["GPU, % GPU 1"]) == ([50.0, None], [70.0, 90.0])
    assert found["GPU memory, GB GPU 1"] == [0.5, 0.5]


def test_a_reader_goes_on_from_the_last_sample(tmp_path: Path) -> None:
    cursor: dict[str, int] = {}
    (tmp_path / FILE).write_text(line(0.0, 0.0, 0) + line(2.0, 3.0, 0))
    assert values(tmp_path, cursor)["processors "] == [1.5]
    assert values(tmp_path, cursor) == {}
    with (tmp_path / FILE).open("a") as more:
        more.write(line(4.0, 7.0, 0))
    assert values(tmp_path, cursor)["processors "] == [2.0]


def test_many_samples_become_few_points_that_keep_the_highest(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("".join(line(t, t / 2, 9 * 10**9 if t == 3 else 10**9) for t in range(11)))
    assert values(tmp_path, {}, limit=4) == {
        "processors ": [0.5, 0.5, 0.5, 0.5],
        "memory, GB ": [9.0, 1.0, 1.0, 1.0],
    }


def test_what_is_no_sample_is_passed_over(tmp_path: Path) -> None:
    damaged = 'x\n[]\n{"t":1}\n{"t":1,"cpu_seconds":1,"memory":1,"gpus":[1]}\n'
    (tmp_path / FILE).write_text(line(0.0, 0.0, 0) + damaged + line(2.0, 3.0, 0))
    assert values(tmp_path, {})["processors "] == [1.5]


def test_growth_tells_of_resources_too(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(line(0.0, 0.0, 0))
    growth = Growth(tmp_path, {})
    assert growth.look() is None
    with (tmp_path / FILE).open("a") as more:
        more.write(line(1.0, 0.5, 0))
    found = growth.look()
    assert found and found["resources"][0]["values"] == [0.5] and found["curves"] == []
    assert growth.look() is None
