"""Numbers for charts: smoothing, what is new, and a shelf that forgets the oldest."""

import math
from pathlib import Path

import pytest

from envbuild.studio.charts import Growth, smooth
from envbuild.studio.shelf import Shelf


def test_a_constant_stays_when_it_is_smoothed() -> None:
    assert smooth([2.0, 2.0, 2.0], 0.9) == pytest.approx([2.0, 2.0, 2.0])


def test_what_is_not_finite_does_not_spoil_what_follows() -> None:
    smoothed = smooth([1.0, math.nan, math.inf, 1.0], 0.5)
    assert math.isnan(smoothed[1]) and math.isinf(smoothed[2])
    assert smoothed[3] == pytest.approx(1.0)


def test_growth_is_only_what_is_new(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"k":"loss","v":3.0,"s":0,"t":1.0}\n')
    growth = Growth(tmp_path, {})
    first = growth.look()
    assert first and first["curves"][0]["values"] == [3.0]
    assert growth.look() is None
    with file.open("a") as writing:
        writing.write('{"k":"loss","v":2.0,"s":1,"t":2.0}\n{"k":"loss","v":1.')
    second = growth.look()
    assert second and second["curves"][0]["values"] == [2.0]


def test_a_full_shelf_forgets_what_was_used_longest_ago(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text('{"k":"loss","v":3.0,"s":0,"t":1.0}\n' * 10)
    shelf = Shelf(most_points=20)
    for name in "abac":
        assert len(shelf.curve(tmp_path / name, "loss") or ()) == 10
    assert [place.name for place, _ in shelf.kept()] == ["a", "c"]
