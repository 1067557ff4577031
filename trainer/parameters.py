"""A script's arguments in, its parameters out: `--lr 0.1 --deep` -> `{"lr": 0.1, "deep": True}`.

Read by the conventions that argparse, click and hydra share, for tables and comparisons; what the script itself makes
of its arguments is not known here. Dashes in front are dropped, dashes inside a name are kept as they were written.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

Value = bool | int | float | str
Parameters = Mapping[str, Value | list[Value]]

_OPTION = re.compile(r"--?([A-Za-z][\w.-]*)(?:=(.*))?", re.DOTALL)
_ASSIGNMENT = re.compile(r"\+{0,2}([A-Za-z][\w.]*)=(.*)", re.DOTALL)
"""Hydra's overrides: `model.lr=0.1`, `+new=1`."""

_WORDS: Mapping[str, Value] = {"true": True, "false": False}


def parse_parameters(arguments: Sequence[str]) -> dict[str, Value | list[Value]]:
    """The parameters of `arguments`; an option with no value is `True`, one with several is a list."""
    found: dict[str, list[Value]] = {}
    for name, values in _groups(arguments):
        if name:
            found.setdefault(name, []).extend(_value(each) for each in values)
    return {name: True if not values else values[0] if len(values) == 1 else values for name, values in found.items()}


def change_arguments(arguments: Sequence[str], changes: Sequence[str]) -> tuple[str, ...]:
    """`arguments` with `changes` in the place of options of the same name; new ones are added at the end."""
    changed = {name for name, _ in _groups(changes) if name}
    kept: list[str] = []
    keeping = True
    for argument in arguments:
        name = _name(argument)
        if name is not None:
            keeping = name not in changed
        if keeping:
            kept.append(argument)
    return (*kept, *changes)


def _groups(arguments: Sequence[str]) -> Iterator[tuple[str | None, list[str]]]:
    """Each option with the values that follow it; what stands before the first option has no name."""
    name: str | None = None
    values: list[str] = []
    for argument in arguments:
        option = _OPTION.fullmatch(argument)
        assignment = _ASSIGNMENT.fullmatch(argument)
        if not option and not assignment:
            values.append(argument)
            continue
        yield name, values
        match = option or assignment
        assert match is not None
        name, values = match[1], [] if match[2] is None else [match[2]]
    yield name, values


def _name(argument: str) -> str | None:
    match = _OPTION.fullmatch(argument) or _ASSIGNMENT.fullmatch(argument)
    return match[1] if match else None


def _value(text: str) -> Value:
    """`inf` and `nan` stay texts: JSON, in which parameters are kept, has no such numbers."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return text if isinstance(value, float) and not math.isfinite(value) else value
    return _WORDS.get(text.lower(), text)
