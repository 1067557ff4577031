"""Lengths of time as people write them: `90s`, `30m`, `2h`, `1h30m`, `2d`."""

import re

from envbuild.errors import InputError

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+|\d+(?:\.\d+)?")


def parse_duration(text: str, name: str) -> float:
    """Seconds; a bare number is in seconds.

    Raises:
        InputError: `text` is no length of time; the message begins with `name`.
    """
    plain = text.strip().lower().replace(" ", "")
    if not _DURATION.fullmatch(plain):
        raise InputError(f"{name} {text!r} is not a length of time; write for instance 90s, 30m, 2h, 1h30m or 2d")
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", plain))


def show_duration(seconds: float) -> str:
    """`5025` -> `1h23m45s`; parts that are zero are left out."""
    parts = []
    rest = round(seconds)
    for unit in ("d", "h", "m", "s"):
        number, rest = divmod(rest, _SECONDS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or f"{seconds:g}s"
