"""Which runs a list shows, and how filters are written."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.errors import InputError
from envbuild.trainer.duration import parse_duration, show_duration
from envbuild.trainer.run import create_run
from envbuild.trainer.selection import Selection, parse_since, parse_state, parse_tag, parse_tags, select_runs
from envbuild.trainer.supervision import process_start

ALIVE = {"pid": os.getpid(), "start": process_start(os.getpid())}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for experiment, state, version, tags in (
        ("digits", "Completed", 1, {"model": "resnet"}),
        ("digits", "Failed", 2, {"model": "cnn", "best": None}),
        ("words", "Running", 2, {}),
    ):
        document = {"state": state, "environment": {"name": "torch", "version": version}, "tags": tags}
        create_run(tmp_path, experiment, {"process": ALIVE, **document})
    return tmp_path


@pytest.mark.parametrize(
    ("selection", "states"),
    [
        (Selection(), ["Running", "Failed", "Completed"]),
        (Selection(experiment="digits"), ["Failed", "Completed"]),
        (Selection(states=("Failed", "Running")), ["Running", "Failed"]),
        (Selection(tags=(("model", "resnet"),)), ["Completed"]),
        (Selection(tags=(("best", None),)), ["Failed"]),
        (Selection(environment="torch"), ["Running", "Failed", "Completed"]),
        (Selection(environment="torch:1"), ["Completed"]),
        (Selection(since="2999-01-01T00:00:00Z"), []),
        (Selection(limit=1), ["Running"]),
    ],
)
def test_a_selection_shows_what_it_asks_for(home: Path, selection: Selection, states: list[str]) -> None:
    assert [run.state for run in select_runs(home, selection)] == states


def test_a_misspelt_state_names_the_near_one() -> None:
    assert parse_state("failed") == "Failed"
    with pytest.raises(InputError, match=r"did you mean Failed\?"):
        parse_state("faild")


def test_a_date_is_in_utc_unless_it_says_otherwise() -> None:
    assert parse_since("2026-11-24") == "2026-11-24T00:00:00Z"
    assert parse_since("2026-11-24T10:00+02:00") == "2026-11-24T08:00:00Z"
    with pytest.raises(InputError, match="is not a date"):
        parse_since("2026-13-01")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("2d", 172800), ("1.5", 1.5)]
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert parse_duration(text, "--timeout") == seconds


@given(st.text(max_size=8))
def test_any_other_text_is_a_sentence(text: str) -> None:
    try:
        assert parse_duration(text, "--timeout") >= 0
    except InputError as error:
        assert "write for instance" in str(error)


@given(st.integers(1, 10**7))
def test_a_length_of_time_is_shown_as_it_is_read(seconds: int) -> None:
    assert parse_duration(show_duration(seconds), "--timeout") == seconds


def test_a_tag_without_a_value_is_refused() -> None:
    assert parse_tags(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(InputError, match="is not KEY=VALUE"):
        parse_tags(["a"])


def test_a_tag_to_look_for_has_a_key_and_perhaps_a_value() -> None:
    assert [parse_tag(text) for text in ("a", "a=", "a=b=c")] == [("a", None), ("a", ""), ("a", "b=c")]
    with pytest.raises(InputError, match="'=b' is not KEY or KEY=VALUE"):
        parse_tag("=b")


@pytest.mark.parametrize("age", ["9999999d", f"{'9' * 400}d"])
def test_an_age_before_all_dates_is_a_sentence(age: str) -> None:
    with pytest.raises(InputError, match="is before the first date that there is"):
        parse_since(age)
