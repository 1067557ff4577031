"""What recorded runs need to be run again: the environment, the image's documents, the snapshot with its files."""

import json
from pathlib import Path

from envbuild.errors import StoreError
from envbuild.registry.marks import RunUse

from .run import RUNNING, RunRecord, list_runs, run_folders


def recorded_uses(home: Path) -> list[RunUse]:
    """What every recorded run of `home` needs, newest run first."""
    return [_use(home, run) for run in list_runs(home)]


def all_uses(home: Path) -> list[RunUse]:
    """The same, for who removes what nobody needs.

    Raises:
        StoreError: a record cannot be read, so nobody knows what its run needs.
    """
    runs = list_runs(home)
    known = {run.folder for run in runs}
    for folder in run_folders(home):
        if folder not in known and (folder / "run.json").exists() and _is_damaged(folder / "run.json"):
            raise StoreError(
                f"{folder / 'run.json'} cannot be read, so nobody knows which snapshot that run needs; mend it, or "
                f"remove {folder}, then collect again"
            )
    return [_use(home, run) for run in runs]


def _is_damaged(record: Path) -> bool:
    """Whether it is so now: a run that began meanwhile has a record by now."""
    try:
        return not json.loads(record.read_bytes())["state"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True


def _use(home: Path, run: RunRecord) -> RunUse:
    environment = run.document.get("environment") or {}
    snapshot = str((run.document.get("snapshot") or {}).get("id", ""))
    return RunUse(
        run=f"{run.experiment}/{run.run_id}",
        name=str(environment.get("name", "")),
        version=int(environment.get("version") or 0),
        image_digest=str(environment.get("image_digest", "")),
        snapshot=snapshot,
        snapshot_files=_files(home / "snapshots" / f"{snapshot}.json") | _files(run.folder / "snapshot.json"),
        is_active=run.state in RUNNING,
    )


def _files(listing: Path) -> frozenset[str]:
    """The contents that a snapshot's list names; of a list that cannot be read, none."""
    try:
        return frozenset(str(file["sha256"]) for file in json.loads(listing.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()
