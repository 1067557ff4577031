"""Fewer points, the same picture."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.trainer.metrics.sampling import sample


def test_what_fits_is_kept_whole() -> None:
    assert sample([3.0, 1.0, math.nan, 2.0], 4) == [0, 1, 2, 3]


def test_of_every_stretch_the_lowest_and_the_highest_stay() -> None:
    values = [0.0, 5.0, 1.0, 2.0, 9.0, -1.0, 3.0, 4.0, 0.0]
    assert sample(values, 6) == [0, 1, 2, 4, 5, 8]


def test_a_single_spike_among_many_stays() -> None:
    values = [1.0] * 100_000
    values[77_777] = 50.0
    assert 77_777 in sample(values, 100)


def test_what_has_no_place_on_an_axis_is_dropped_first() -> None:
    values = [1.0, math.nan, math.inf, 2.0, math.nan, 3.0]
    assert sample(values, 4) == [0, 3, 5]


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="4 can"):
        sample([1.0], 3)


@given(st.lists(st.floats()), st.integers(4, 50))
def test_the_promise(values: list[float], limit: int) -> None:
    kept = sample(values, limit)
    assert len(kept) <= limit
    assert kept == sorted(set(kept))
    if values:
        assert (kept[0], kept[-1]) == (0, len(values) - 1)
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        drawn = [values[position] for position in kept if math.isfinite(values[position])]
        assert (min(drawn), max(drawn)) == (min(finite), max(finite))
