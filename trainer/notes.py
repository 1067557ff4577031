"""What a script says of its run beside metrics (tags, properties, child runs), put into the record as it comes.

`metrics.lines` reads it; here is remembered how far, so that a growing file is read once, and what becomes of it in
`run.json`:

    "tags": {"model": "resnet"}, "properties": {...},
    "children": {"RUN.fold-1": {"name": "fold-1", "parent": "RUN", "time": 1795453854.5, "state": "Completed", ...}}
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .metrics import Notes, RunMetrics
from .metrics.lines import read_notes

_ENTRIES = 10_000
"""Tags, properties or children of one run that are kept; a script that makes more has run away."""
_CHARACTERS = 1 << 16
"""Of one text that are kept."""
_LARGEST = 1 << 23
"""Characters of all that was said; what would make it more is not kept. Every look at the run reads the record."""


class NoteReader:
    """Reads the notes of the run in `folder` as its file grows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cursor: dict[str, int] = {}

    def read(self) -> dict[str, Notes]:
        """What was said since the last call: by the id of the child; "" is the run itself."""
        found = RunMetrics(cursor=self._cursor)
        read_notes(self._folder, found)
        self._cursor = found.cursor
        return found.notes


def merged(document: Mapping[str, Any], notes: Mapping[str, Notes]) -> dict[str, Any]:
    """The record `document` with what was said on top."""
    whole = dict(document)
    own = notes.get("", Notes())
    for key, said in (("tags", own.tags), ("properties", own.properties)):
        if said:
            whole[key] = _bounded({**(document.get(key) or {}), **_texts(said)})
    children = {name: dict(child) for name, child in (document.get("children") or {}).items()}
    for name, of_child in notes.items():
        if name:
            kept = children.setdefault(name, {})
            for key, value in _described(of_child):
                kept[key] = _bounded({**kept.get(key, {}), **_texts(value)}) if isinstance(value, dict) else value
    if children:
        whole["children"] = _bounded(children)
    noted = [whole.get(key) for key in ("tags", "properties", "children")]
    return whole if len(json.dumps(noted)) <= _LARGEST else dict(document)


def _described(notes: Notes) -> Iterator[tuple[str, Any]]:
    """What the record has of a child, as far as it was said."""
    said = {
        "name": notes.name[:_CHARACTERS], "parent": notes.parent, "time": notes.began, "ended": notes.ended,
        "state": notes.status[:_CHARACTERS], "error": notes.error[:_CHARACTERS], "files": notes.files,
        "tags": notes.tags, "properties": notes.properties, "log_begin": notes.log_begin, "log_end": notes.log_end,
    }  # fmt: skip
    yield from ((key, value) for key, value in said.items() if value or value == 0)


def _texts(said: Mapping[str, str]) -> dict[str, str]:
    return {key[:_CHARACTERS]: text[:_CHARACTERS] for key, text in said.items()}


def _bounded(entries: dict[str, Any]) -> dict[str, Any]:
    return entries if len(entries) <= _ENTRIES else dict(list(entries.items())[:_ENTRIES])
