"""The record of a run: plain files, readable without us, whole at every moment.

runs/EXPERIMENT/RUN_ID/   run.json  snapshot.json  20_image_build_log.txt  70_driver_log.txt  metrics.jsonl
                          resources.jsonl  git.diff  supervisor.log  supervisor.lock  images/  outputs/  children/

A state only moves forward: Queued, Preparing, Running, and then one of Completed, Failed, Canceled and Lost (the
process that supervised the run is gone, see `supervision`; found out by whoever looks next). Only a run that was given
up (`give_up`) goes back when its supervisor is there after all. Every change reads the record again under a lock, so
that a tag set from outside and a state set by the supervisor never undo each other.
"""

import difflib
import fcntl
import json
import math
import os
import platform
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.builder import atomic
from envbuild.errors import InputError, NotFound, StoreError

from .supervision import is_alive, is_in_another_container, is_seen, process_of, take_lock

RUNNING = ("Queued", "Preparing", "Running")
FINAL = ("Completed", "Failed", "Canceled", "Lost")

_EXPERIMENT = re.compile(r"[a-zA-Z0-9][\w-]{0,254}")


@dataclass(frozen=True)
class RunRecord:
    """A run as its record says."""

    folder: Path
    document: Mapping[str, Any]
    """The content of `run.json`."""

    @property
    def run_id(self) -> str:
        return str(self.document["run_id"])

    @property
    def experiment(self) -> str:
        return str(self.document["experiment"])

    @property
    def state(self) -> str:
        return str(self.document["state"])

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.state in FINAL

    @property
    def reason(self) -> str | None:
        """Why the run did not complete, in a few words."""
        return self.document.get("reason")

    @property
    def environment(self) -> str:
        """`NAME:VERSION`; only `NAME` while the environment is still being built."""
        described = self.document.get("environment") or {}
        version = described.get("version")
        return f"{described.get('name', '')}:{version}" if version else str(described.get("name", ""))

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Parameter -> value, as parsed from the script's arguments."""
        return self.document.get("parameters") or {}

    @property
    def tags(self) -> Mapping[str, Any]:
        return self.document.get("tags") or {}

    @property
    def properties(self) -> Mapping[str, Any]:
        return self.document.get("properties") or {}

    @property
    def children(self) -> Mapping[str, Mapping[str, Any]]:
        """The run's child runs in the order in which they began: id -> `{"name", "time", "state", "tags",
        "properties"}`, of which each may be missing.
        """
        children = self.document.get("children") or {}
        return dict(sorted(children.items(), key=lambda item: item[1].get("time") or 0))

    @property
    def home(self) -> Path:
        return self.folder.parents[2]

    @property
    def exit_status(self) -> int:
        """What `envbuild run` ends with: 0 completed, 130 interrupted, 1 otherwise."""
        return {"Completed": 0, "Canceled": 130}.get(self.state, 1)

    @property
    def driver_log(self) -> Path:
        return self.folder / "70_driver_log.txt"

    @property
    def build_log(self) -> Path:
        """The build log of the run's environment; written while it is built for this run."""
        return self.folder / "20_image_build_log.txt"

    @property
    def metrics_file(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def resources_file(self) -> Path:
        """What the job used, a line every few seconds (see `resources`)."""
        return self.folder / "resources.jsonl"

    @property
    def diff_file(self) -> Path:
        """What the source folder differed from its commit; only there when it did."""
        return self.folder / "git.diff"

    @property
    def outputs(self) -> Path:
        return self.folder / "outputs"


def create_run(home: Path, experiment: str, document: Mapping[str, Any], *, supervised: bool = False) -> RunRecord:
    """Make the folder and the first record (state Queued) of a new run.

    With `supervised` this process answers for the run from its first moment on: it holds the run's lock, until it
    passes that on or lets go of it, and the record names it.

    Raises:
        InputError: `experiment` cannot be a name.
    """
    check_experiment(experiment)
    run_id = _new_id()
    folder = home / "runs" / experiment / run_id
    whole = {"run_id": run_id, "experiment": experiment, "state": "Queued", "created": now(), **document}
    if supervised:
        whole |= {"host": platform.node(), "process": process_of(os.getpid())}
    with atomic.new_folder(folder) as target:
        (target / "outputs").mkdir()
        (target / "images").mkdir()
        (target / "70_driver_log.txt").touch()
        (target / "metrics.jsonl").touch()
        if supervised:
            take_lock(target, run_id)
        _write(target, whole)
    return RunRecord(folder, whole)


def check_experiment(name: str) -> str:
    """Return `name` when it can name an experiment.

    Raises:
        InputError: it cannot.
    """
    if not _EXPERIMENT.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name an experiment: use letters, digits, '-', '_', and start with a letter or digit"
        )
    return name


def update_run(run: RunRecord, **changes: Any) -> RunRecord:
    """Write the record with `changes` on top of what it holds now, and return it."""
    return change_run(run, lambda document: {**document, **changes})


def change_run(run: RunRecord, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> RunRecord:
    """Write what `change` makes of the record as it stands, and return it; nobody else writes meanwhile.

    Raises:
        StoreError: the record cannot be read or written.
    """
    try:
        with _locked(run.folder):
            document = change(read_document(run.folder))
            _write(run.folder, document)
    except (OSError, ValueError) as error:
        raise StoreError(f"the record of {run.run_id} cannot be written: {error}") from error
    return RunRecord(run.folder, document)


def tag_run(run: RunRecord, tags: Mapping[str, str], remove: Iterable[str] = ()) -> RunRecord:
    """Set `tags` and remove those named in `remove`.

    Raises:
        InputError: the run has no tag of a name in `remove`.
    """

    def change(document: dict[str, Any]) -> Mapping[str, Any]:
        kept = dict(document.get("tags") or {})
        for key in remove:
            if key not in kept:
                raise InputError(f"{run.run_id} has no tag {key!r}; it has: {', '.join(kept) or 'none'}")
            del kept[key]
        return {**document, "tags": {**kept, **tags}}

    return change_run(run, change)


def check_removable(run: RunRecord) -> None:
    """Nothing, when `run` may be removed.

    Raises:
        InputError: it has not ended.
    """
    if not run.is_final:
        raise InputError(f"{run.run_id} is {run.state}; cancel it first: envbuild runs cancel {run.run_id}")


def remove_run(run: RunRecord) -> None:
    """Remove the run and everything that it kept, in one step for a reader.

    Raises:
        InputError: it has not ended.
        StoreError: its folder cannot be removed.
    """
    check_removable(run)
    gone = run.folder.with_name(f".tmp-removed-{run.run_id}")
    try:
        run.folder.rename(gone)
    except OSError as error:
        raise StoreError(f"{run.folder} cannot be removed: {error.strerror}") from error
    atomic.remove_tree(gone)
    with suppress(OSError):  # other runs are in the experiment
        run.folder.parent.rmdir()


def list_runs(home: Path, experiment: str | None = None) -> list[RunRecord]:
    """Every run, newest first."""
    from .index import read_documents

    found = read_documents(home, _names(home, experiment))
    return [current(RunRecord(Path(f"{home}/runs/{name}"), document)) for name, document in found]


def load_run(home: Path, reference: str) -> RunRecord:
    """The run with this id, a beginning of it, `EXPERIMENT/ID`, or `last`.

    Raises:
        NotFound: there is none, or more than one.
    """
    folders = run_folders(home)
    if reference == "last":
        for folder in folders:
            if run := _read(folder):
                return run
    if not folders or reference == "last":
        raise NotFound("no run is recorded yet: envbuild run src/ train.py")
    found = [folder for folder in folders if f"{folder.parent.name}/{folder.name}".startswith(reference)]
    found = found or [folder for folder in folders if folder.name.startswith(reference)]
    exact = [folder for folder in found if reference in (folder.name, f"{folder.parent.name}/{folder.name}")]
    if len(exact or found) == 1:
        return load_folder((exact or found)[0])
    if found:
        raise NotFound(
            f"{reference!r} is the beginning of {len(found)} runs; write more of the id (envbuild runs list)"
        )
    near = difflib.get_close_matches(reference, [folder.name for folder in folders], 1)
    raise NotFound(
        f"no run is called {reference!r}; " + (f"did you mean {near[0]}?" if near else "see envbuild runs list")
    )


def load_folder(folder: Path) -> RunRecord:
    """The run that is kept in `folder`.

    Raises:
        NotFound: there is none, or its record is damaged.
    """
    run = _read(folder)
    if run is None:
        raise NotFound(f"{folder / 'run.json'} cannot be read; the other files of the run are still there")
    return run


def run_folders(home: Path, experiment: str | None = None) -> list[Path]:
    """The folders of all runs, newest first."""
    return [home / "runs" / name for name in _names(home, experiment)]


def read_document(folder: Path) -> dict[str, Any]:
    """The record in `folder` as it is written.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    document = json.loads((folder / "run.json").read_bytes())
    if not isinstance(document, dict):
        raise ValueError("it holds no mapping")
    return document


def current(run: RunRecord) -> RunRecord:
    """`run`, or the same run as Lost when the process that supervised it is gone."""
    if run.is_final or is_alive(run.folder, run.document):
        return run

    def lose(document: dict[str, Any]) -> Mapping[str, Any]:
        # the process may have written its last state and ended between our two looks: only what stands now counts
        lost = document["state"] in RUNNING and not is_alive(run.folder, document)
        return {**document, **_lost()} if lost else document

    try:
        return change_run(run, lose)
    except StoreError:  # a full disk, or another user's home: what is shown is true all the same
        return RunRecord(run.folder, {**run.document, **_lost()})


def give_up(run: RunRecord) -> RunRecord:
    """Record as Lost a run that is supervised on another machine, because its caller knows that machine to be gone.

    Raises:
        InputError: the run has ended, or is supervised here, where its process surely lives.
    """
    if run.is_final:
        raise InputError(f"{run.run_id} has ended already: {run.state}")
    if supervisor_is_here(run):
        raise InputError(f"{run.run_id} is supervised on this machine, and its process lives: cancel it without --lost")
    if is_in_another_container(run.folder, run.document):
        raise InputError(f"{run.run_id} is supervised {supervisor_place(run)}, and its process lives: cancel it there")

    def lose(document: dict[str, Any]) -> Mapping[str, Any]:
        reason = f"{document['host']}, which supervised the run, was given up"
        return {**document, **_lost(reason)} if document["state"] in RUNNING else document

    return change_run(run, lose)


def supervisor_is_here(run: RunRecord) -> bool:
    """Whether the run is supervised on this machine, where we see its process."""
    return is_seen(run.document)


def supervisor_place(run: RunRecord) -> str:
    """Where a run is supervised that is not supervised here: `on HOST`, or more where that would mislead."""
    host = run.document.get("host")
    if is_in_another_container(run.folder, run.document):
        return f"in another container of this machine ({host})"
    if host == platform.node():
        return f"on another machine or in another container that is called {host}, too"
    return f"on {host}"


def now() -> str:
    """The time, as records write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _new_id() -> str:
    """Date and time to a 4096th of a second, and 20 random bits: sorting ids sorts runs by their time."""
    seconds, fraction = divmod(time.time(), 1)
    return (
        f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(seconds))}-{int(fraction * 4096):03x}{secrets.randbits(20):05x}"
    )


def _names(home: Path, experiment: str | None) -> list[str]:
    """`EXPERIMENT/RUN_ID` of every run, newest first; texts, because ten thousand paths take their time."""
    runs = home / "runs"
    found = [
        (run_id, f"{name}/{run_id}")
        for name in ([experiment] if experiment else _entries(runs))
        for run_id in _entries(runs / name)
    ]
    return [name for _, name in sorted(found, reverse=True)]


def _entries(folder: Path) -> list[str]:
    """The names in `folder`, without temporary ones."""
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of one run: on its folder itself, which needs no file more."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(folder: Path, document: Mapping[str, Any]) -> None:
    try:
        text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False)
    except ValueError:
        text = json.dumps(_without_odd_numbers(document), indent=1, sort_keys=True)
    atomic.write_file(folder / "run.json", f"{text}\n".encode(), durable=True)


def _without_odd_numbers(value: Any) -> Any:
    """`value` with texts for NaN and infinities, which JSON has not: one of them, and the list would miss the run."""
    if isinstance(value, Mapping):
        return {key: _without_odd_numbers(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_odd_numbers(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _read(folder: Path) -> RunRecord | None:
    try:
        run = RunRecord(folder, read_document(folder))
        return current(run) if run.state in RUNNING else run
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _lost(reason: str = "the process that supervised the run is gone") -> dict[str, str]:
    return {"state": "Lost", "ended": now(), "reason": reason}
