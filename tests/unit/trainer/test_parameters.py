"""Parameters as they are read out of a script's arguments, and arguments changed for another run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.trainer.parameters import change_arguments, parse_parameters


@pytest.mark.parametrize(
    ("line", "parameters"),
    [
        ("--lr 0.1", {"lr": 0.1}),
        ("--lr=0.1 --epochs 3", {"lr": 0.1, "epochs": 3}),
        ("-b 4", {"b": 4}),
        ("--shift -0.5", {"shift": -0.5}),
        ("--amp --deep true", {"amp": True, "deep": True}),
        ("--layers 1 2 3", {"layers": [1, 2, 3]}),
        ("--tag a --tag b", {"tag": ["a", "b"]}),
        ("--learning-rate 1e-3", {"learning-rate": 0.001}),
        ("model.lr=0.1 +new=x", {"model.lr": 0.1, "new": "x"}),
        ("--name=", {"name": ""}),
        ("--clip inf --fill NaN --low=-Infinity", {"clip": "inf", "fill": "NaN", "low": "-Infinity"}),
        ("input.csv output.csv", {}),
        (f"--seed {10**400}", {"seed": 10**400}),
    ],
)
def test_options_become_parameters(line: str, parameters: dict[str, object]) -> None:
    assert parse_parameters(line.split()) == parameters


@pytest.mark.parametrize(
    ("old", "changes", "new"),
    [
        ("--lr 0.1 --epochs 2", "--lr 0.5", "--epochs 2 --lr 0.5"),
        ("--lr=0.1 --epochs 2", "--lr 0.5", "--epochs 2 --lr 0.5"),
        ("data --layers 1 2 --deep", "--layers 3", "data --deep --layers 3"),
        ("--lr 0.1", "--new 1", "--lr 0.1 --new 1"),
        ("lr=1 epochs=2", "lr=3", "epochs=2 lr=3"),
        ("--lr 0.1", "", "--lr 0.1"),
    ],
)
def test_changes_take_the_place_of_options_of_the_same_name(old: str, changes: str, new: str) -> None:
    assert change_arguments(old.split(), changes.split()) == tuple(new.split())


@given(st.lists(st.text(max_size=12), max_size=8))
def test_any_arguments_are_read(arguments: list[str]) -> None:
    assert all(name for name in parse_parameters(arguments))


@given(st.lists(st.text(max_size=12), max_size=8))
def test_no_change_changes_nothing(arguments: list[str]) -> None:
    assert change_arguments(arguments, ()) == tuple(arguments)
