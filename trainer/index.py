"""The records of all runs in one file, so that 10,000 runs are listed at once.

`runs/.index.sqlite` holds a copy of each `run.json` with the stamp (time, size, inode) that the file had. A record is
replaced as a whole and so never keeps its stamp; what is not in the index, or has another stamp there, is read from
its own file and put in. The index can be deleted at any time, and where it cannot be read or written the records are
read without it.
"""

import gc
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

FILE_NAME = ".index.sqlite"

_VERSION = 1
"""Raise it whenever the table changes: an index of another version is thrown away."""

_BUSY = 0.5
"""Seconds to wait for another process's write; nothing is lost when ours is skipped."""


def read_documents(home: Path, names: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """The record of each run of `names` (`EXPERIMENT/RUN_ID`) that has one, in the order given."""
    if not names:
        return []
    runs = str(home / "runs")
    found: list[tuple[str, dict[str, Any]]] = []
    read: list[tuple[str, str, bytes]] = []
    with _index(home / "runs" / FILE_NAME) as index, _no_collection():
        known = _known(index, names) if index else {}
        for name in names:
            file = f"{runs}/{name}/run.json"
            try:
                stamp = _stamp(os.stat(file))
                kept = known.get(name)
                if kept and kept[0] == stamp:
                    document = _parsed(kept[1])
                else:
                    with open(file, "rb") as reading:
                        stamp, text = _stamp(os.fstat(reading.fileno())), reading.read()
                    document = _parsed(text)
                    read.append((name, stamp, text))
                if document["state"]:
                    found.append((name, document))
            except (OSError, ValueError, KeyError, TypeError):
                continue
        gone = known.keys() - set(names)
        if index and (read or gone):
            _change(index, read, gone)
    return found


def _parsed(text: bytes) -> Any:
    """JSON as `json` reads it, which takes NaN and infinities too: a record holds whatever once was written into it."""
    import orjson

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Hold the search for reference cycles: it looks at every new object again and again, and JSON has no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _index(file: Path) -> Iterator[sqlite3.Connection | None]:
    """The index, made when there is none; `None` when it cannot be used here."""
    connection = None
    if file.parent.is_dir():
        connection = _open(file)
        if connection is None and file.exists():
            try:
                file.unlink()
            except OSError:
                pass
            else:
                connection = _open(file)
    if connection is None:
        yield None
        return
    with closing(connection):
        yield connection


def _open(file: Path) -> sqlite3.Connection | None:
    try:
        connection = sqlite3.connect(file, timeout=_BUSY, isolation_level=None)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != _VERSION:
                if version:
                    connection.execute("DROP TABLE IF EXISTS run")
                connection.execute("CREATE TABLE IF NOT EXISTS run (name TEXT PRIMARY KEY, stamp TEXT, document BLOB)")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error:
        return None
    return connection


def _known(index: sqlite3.Connection, names: Sequence[str]) -> dict[str, tuple[str, bytes]]:
    experiments = {name.partition("/")[0] for name in names}
    query, values = "SELECT name, stamp, document FROM run", tuple[str, ...]()
    if len(experiments) == 1:
        (only,) = experiments
        query, values = f"{query} WHERE name >= ? AND name < ?", (f"{only}/", f"{only}0")  # "0" comes after "/"
    try:
        return {name: (stamp, document) for name, stamp, document in index.execute(query, values)}
    except sqlite3.Error:
        return {}


def _change(index: sqlite3.Connection, read: Sequence[tuple[str, str, bytes]], gone: Iterable[str]) -> None:
    try:
        index.execute("BEGIN IMMEDIATE")
        index.executemany("INSERT OR REPLACE INTO run VALUES (?, ?, ?)", read)
        index.executemany("DELETE FROM run WHERE name = ?", [(name,) for name in gone])
        index.execute("COMMIT")
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            index.execute("ROLLBACK")


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"
