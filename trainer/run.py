"""The record of a run: plain files, readable without us, whole at every moment.

runs/EXPERIMENT/RUN_ID/   run.json  snapshot.json  20_image_build_log.txt  70_driver_log.txt  metrics.jsonl  outputs/
"""

import difflib
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.builder import atomic
from envbuild.errors import InputError, NotFound

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
    def exit_status(self) -> int:
        """What `envbuild run` ends with: 0 completed, 130 interrupted, 1 otherwise."""
        return {"Completed": 0, "Canceled": 130}.get(self.state, 1)

    @property
    def driver_log(self) -> Path:
        return self.folder / "70_driver_log.txt"

    @property
    def metrics_file(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def outputs(self) -> Path:
        return self.folder / "outputs"


def create_run(home: Path, experiment: str, document: Mapping[str, Any]) -> RunRecord:
    """Make the folder and the first record (state Queued) of a new run.

    Raises:
        InputError: `experiment` cannot be a name.
    """
    if not _EXPERIMENT.fullmatch(experiment):
        raise InputError(
            f"{experiment!r} cannot name an experiment: use letters, digits, '-', '_', and start with a letter or digit"
        )
    run_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    folder = home / "runs" / experiment / run_id
    whole = {"run_id": run_id, "experiment": experiment, "state": "Queued", "created": now(), **document}
    with atomic.new_folder(folder) as target:
        (target / "outputs").mkdir()
        (target / "images").mkdir()
        (target / "70_driver_log.txt").touch()
        (target / "metrics.jsonl").touch()
        _write(target, whole)
    return RunRecord(folder, whole)


def update_run(run: RunRecord, **changes: Any) -> RunRecord:
    """Write the record with `changes`, and return it."""
    document = {**run.document, **changes}
    _write(run.folder, document)
    return RunRecord(run.folder, document)


def list_runs(home: Path, experiment: str | None = None) -> list[RunRecord]:
    """Every run, newest first."""
    folders = (home / "runs").glob(f"{experiment or '*'}/*/run.json")
    runs = [run for file in folders if (run := _read(file.parent)) is not None]
    return sorted(runs, key=lambda run: run.run_id, reverse=True)


def load_run(home: Path, reference: str) -> RunRecord:
    """The run with this id, a beginning of it, `EXPERIMENT/ID`, or `last`.

    Raises:
        NotFound: there is none, or more than one.
    """
    runs = list_runs(home)
    if not runs:
        raise NotFound("no run is recorded yet: envbuild run src/ train.py")
    if reference == "last":
        return runs[0]
    found = [run for run in runs if f"{run.experiment}/{run.run_id}".startswith(reference)]
    found = found or [run for run in runs if run.run_id.startswith(reference)]
    exact = [run for run in found if reference in (run.run_id, f"{run.experiment}/{run.run_id}")]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        raise NotFound(
            f"{reference!r} is the beginning of {len(found)} runs; write more of the id (envbuild runs list)"
        )
    near = difflib.get_close_matches(reference, [run.run_id for run in runs], 1)
    raise NotFound(
        f"no run is called {reference!r}; " + (f"did you mean {near[0]}?" if near else "see envbuild runs list")
    )


def process_start(pid: int) -> str | None:
    """When process `pid` started, in clock ticks since boot (proc(5), field 22 of stat); `None` when it is gone.

    A pid alone may have been given to another process since.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def now() -> str:
    """The time, as records write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _write(folder: Path, document: Mapping[str, Any]) -> None:
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    atomic.write_file(folder / "run.json", text.encode(), durable=True)


def _read(folder: Path) -> RunRecord | None:
    try:
        run = RunRecord(folder, json.loads((folder / "run.json").read_bytes()))
        if run.state not in RUNNING or _is_alive(run.document):
            return run
        # the process may have written its last state and ended between our two looks: only what stands now counts
        run = RunRecord(folder, json.loads((folder / "run.json").read_bytes()))
        return update_run(run, state="Lost", ended=now()) if run.state in RUNNING else run
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_alive(document: Mapping[str, Any]) -> bool:
    process = document.get("process") or {}
    start = process_start(int(process["pid"])) if "pid" in process else None
    return start is not None and start == process.get("start")
