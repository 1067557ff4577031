"""Which runs a list shows: by experiment, state, tag, environment and time."""

import difflib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from envbuild.errors import InputError

from .duration import parse_duration
from .run import FINAL, RUNNING, RunRecord, list_runs


@dataclass(frozen=True)
class Selection:
    """What a run must be to be shown; an empty field asks nothing."""

    experiment: str | None = None
    states: tuple[str, ...] = ()
    tags: tuple[tuple[str, str | None], ...] = ()
    """Key and value of each tag that a run must have; `None` for any value."""
    environment: str | None = None
    """`NAME` or `NAME:VERSION`."""
    since: str = ""
    """Created at this time or later, as records write it (`2026-11-24T16:00:00Z`)."""
    limit: int | None = None

    def matches(self, run: RunRecord) -> bool:
        """Whether `run` is one of those asked for."""
        return (
            (not self.states or run.state in self.states)
            and all(key in run.tags and value in (None, str(run.tags[key])) for key, value in self.tags)
            and self.environment in (None, run.environment, run.environment.partition(":")[0])
            and str(run.document.get("created", "")) >= self.since
        )


def select_runs(home: Path, selection: Selection) -> list[RunRecord]:
    """The runs asked for, newest first."""
    return [run for run in list_runs(home, selection.experiment) if selection.matches(run)][: selection.limit]


def parse_state(text: str) -> str:
    """The state that `text` names, in any case.

    Raises:
        InputError: it names none.
    """
    known = {state.lower(): state for state in (*RUNNING, *FINAL)}
    if text.lower() not in known:
        near = difflib.get_close_matches(text.lower(), known, 1)
        hint = f"did you mean {known[near[0]]}?" if near else f"known: {', '.join(known.values())}"
        raise InputError(f"no state is called {text!r}; {hint}")
    return known[text.lower()]


def parse_tag(text: str) -> tuple[str, str | None]:
    """`KEY=VALUE`, or `KEY` alone.

    Raises:
        InputError: it has no key.
    """
    key, equals, value = text.partition("=")
    if not key:
        raise InputError(f"{text!r} is not KEY or KEY=VALUE, for instance model=resnet")
    return key, value if equals else None


def parse_tags(texts: Sequence[str]) -> dict[str, str]:
    """Tags to set, each `KEY=VALUE`.

    Raises:
        InputError: one has no key or no value.
    """
    for text in texts:
        if not text.partition("=")[0] or "=" not in text:
            raise InputError(f"{text!r} is not KEY=VALUE, for instance model=resnet")
    return dict(text.split("=", 1) for text in texts)


def parse_since(text: str) -> str:
    """A date (`2026-11-24`, `2026-11-24T16:00`, in UTC unless it names a zone) or an age (`2h`, `7d`).

    Raises:
        InputError: `text` is neither.
    """
    if re.match(r"\d{4}-", text):
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            raise InputError(f"--since {text!r} is not a date; write for instance 2026-11-24 or 2h") from None
        moment = moment.replace(tzinfo=moment.tzinfo or timezone.utc)
    else:
        try:
            moment = datetime.fromtimestamp(time.time() - parse_duration(text, "--since"), timezone.utc)
        except (ValueError, OverflowError, OSError):
            raise InputError(f"--since {text!r} is before the first date that there is") from None
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
