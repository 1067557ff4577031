"""Histograms of many steps on common bins."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.studio.heat_map import BINS, heat_map, spread
from envbuild.trainer.metrics.event_values import Histogram

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def test_bars_are_spread_over_the_bins_that_they_cover() -> None:
    found = heat_map([(3, Histogram(((0.0, 30.0, 60.0), (30.0, 60.0, 30.0)))), (1, Histogram(((59.0, 59.5, 7.0),)))])
    assert found["steps"] == [1, 3]
    assert found["edges"] == pytest.approx(list(range(BINS + 1)))
    assert [row[1] for row in found["counts"]] == pytest.approx([2.0] * 30 + [1.0] * 30)
    assert [row[0] for row in found["counts"]] == pytest.approx([0.0] * 59 + [7.0])


def test_values_that_are_all_the_same_are_one_bin() -> None:
    counts = [row[0] for row in heat_map([(0, Histogram(((2.0, 2.0, 9.0),)))])["counts"]]
    assert sum(counts) == max(counts) == 9.0


def test_without_bars_there_is_no_map() -> None:
    assert heat_map([(0, Histogram(()))]) == {"steps": [], "edges": [], "counts": []}


@given(st.lists(st.lists(st.tuples(FINITE, FINITE, st.floats(1, 1e6)), max_size=5), max_size=4))
def test_no_histogram_is_too_strange(steps: list[list[tuple[float, float, float]]]) -> None:
    histograms = [
        (step, Histogram(tuple((min(one, other), max(one, other), count) for one, other, count in bars)))
        for step, bars in enumerate(steps)
    ]
    found = heat_map(histograms)
    assert all(count >= 0 and math.isfinite(count) for row in found["counts"] for count in row)


def test_the_first_and_the_last_step_are_kept() -> None:
    assert spread(range(100), 4) == [0, 33, 66, 99]
    assert spread([1, 2], 4) == [1, 2]
