"""A request in, a queued run out: the checks, the snapshot, the record.

    RunRequest -> checks -> Snapshot -> run.json (Queued) -> supervise, here or in the background

Whatever can be found out before anything is copied is an error here, and then nothing is recorded.
"""

import difflib
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envbuild.builder.home_lock import sharing
from envbuild.builder.report import Reporter
from envbuild.errors import InputError, NotFound, SnapshotError
from envbuild.settings import Settings

from .compose import PYTHON, expand
from .data import DataVersion, load_data
from .git import read_git
from .parameters import change_arguments, parse_parameters
from .run import RunRecord, create_run, update_run
from .snapshot import Snapshot, load_snapshot, take_snapshot
from .targets import find_target

_LEAST_MEMORY = 6 << 20
"""Bytes; Docker Engine's own limit, below which the sandbox starts nothing either."""
_MOST = (1 << 63) - 1
"""Bytes; what the kernel can be told (setrlimit(2), mount options)."""


@dataclass(frozen=True)
class EnvironmentForRun:
    """The registered environment that a run uses."""

    name: str
    version: int
    image_digest: str


@dataclass(frozen=True)
class EnvironmentToBuild:
    """An environment that the run's supervisor registers (quickly, when it is known) while the run is Preparing."""

    name: str
    kind: str
    """`file`, or `conda` for a conda environment of this machine."""
    source: str
    """The file's absolute path, or the conda environment's name."""


@dataclass(frozen=True)
class RunRequest:
    """What a user asks to be run."""

    source: Path
    script: str
    """Relative to `source`."""
    arguments: tuple[str, ...]
    experiment: str
    environment: EnvironmentForRun | EnvironmentToBuild
    mounts: tuple[tuple[str, Path], ...] = ()
    """What the job sees read-only at /envbuild/data/NAME."""
    data: tuple[tuple[str, str], ...] = ()
    """The name that the job knows it by, and `NAME[:VERSION]`, of each data set."""
    network: bool = True
    cpus: int | None = None
    memory: int | None = None
    """Bytes."""
    shm_size: int = 2 << 30
    """Bytes."""
    gpus: str = ""
    """`all`, a number of GPUs, or their ids separated by commas."""
    target: str = "local"
    timeout: float | None = None
    """Seconds that the job may take."""
    tags: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the job, beside those of the image."""


def submit(request: RunRequest, settings: Settings, reporter: Reporter) -> RunRecord:
    """Check `request`, keep a snapshot of its source, and record the run as Queued.

    Raises:
        SnapshotError: the source folder or the script is not usable.
        InputError: the target, a mount or the experiment's name cannot be right, or there are no such GPUs.
    """
    find_target(request.target, settings).check(request.gpus)
    _check_limits(request)
    _check_script(request)
    names = [name for name, _ in (*request.mounts, *request.data)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name!r} names two mounts of one run; give one of them another name")
    command = [PYTHON, request.script, *expand(request.arguments, names)]
    with sharing(settings.home, reporter):  # nothing is recorded yet of what the snapshot keeps
        return _submit(request, command, settings, reporter)


def _submit(request: RunRequest, command: Sequence[str], settings: Settings, reporter: Reporter) -> RunRecord:
    data = {name: _data(load_data(settings.home, reference)) for name, reference in request.data}
    begin = time.monotonic()
    snapshot = take_snapshot(request.source, settings.home, settings.snapshot, reporter)
    _check_outputs(snapshot, request.source)
    git = read_git(request.source)
    document = {
        "script": request.script,
        "arguments": list(request.arguments),
        "parameters": parse_parameters(request.arguments),
        "command": list(command),
        "environment": request.environment.__dict__,
        "variables": dict(request.variables),
        "snapshot": {"id": snapshot.id, "files": len(snapshot.files), "size": snapshot.size},
        "source": str(request.source.resolve()),
        "mounts": {name: str(path) for name, path in request.mounts},
        "data": data,
        "target": request.target,
        "network": request.network,
        "limits": {
            "cpus": request.cpus, "memory": request.memory, "shm_size": request.shm_size, "timeout": request.timeout,
            **({"gpus": request.gpus} if request.gpus else {}),
        },
        "tags": dict(request.tags),
        "git": git.record() if git else None,
        "seconds": {"snapshot": round(time.monotonic() - begin, 3)},
    }  # fmt: skip
    run = _record(settings.home, request.experiment, document, snapshot)
    if git and git.diff:
        run.diff_file.write_bytes(git.diff)
    return run


def default_experiment(source: Path, settings: Settings) -> str:
    """The project's name, or the name of the folder that holds `source`."""
    folder = settings.project or source.absolute().resolve().parent
    name = settings.project_name or folder.name or "default"
    name = re.sub(r"[^\w-]", "-", name).lstrip("-_")
    if not re.match(r"[A-Za-z0-9]", name):  # every name begins so
        name = f"default-{name}".rstrip("-")
    return name[:255]


def resubmit(run: RunRecord, changes: Sequence[str], settings: Settings) -> RunRecord:
    """Record a new run of what `run` ran: the same image, snapshot, mounts and limits; `changes` replace arguments.

    Raises:
        NotFound: the snapshot is gone.
        InputError: an argument names no mount of the run, or there are no such GPUs any more.
    """
    old = run.document
    find_target(old["target"], settings).check((old.get("limits") or {}).get("gpus") or "")
    snapshot = load_snapshot(old["snapshot"]["id"], settings.home)
    for described in (old.get("data") or {}).values():
        _check_data(described, settings.home)
    for name, path in (old.get("mounts") or {}).items():
        if not Path(path).exists():
            raise InputError(f"{path}, which {run.run_id} mounted as {name!r}, does not exist any more")
    arguments = change_arguments(old["arguments"], changes)
    kept = (
        "script",
        "environment",
        "variables",
        "snapshot",
        "source",
        "mounts",
        "data",
        "target",
        "network",
        "limits",
        "git",
    )
    document = {
        **{key: old[key] for key in kept if key in old},
        "arguments": list(arguments),
        "parameters": parse_parameters(arguments),
        "command": [PYTHON, old["script"], *expand(arguments, [*old["mounts"], *(old.get("data") or ())])],
        "rerun_of": run.run_id,
    }
    again = _record(settings.home, run.experiment, document, snapshot)
    if run.diff_file.is_file():
        shutil.copyfile(run.diff_file, again.diff_file)
    return again


def _data(data: DataVersion) -> dict[str, Any]:
    return {"name": data.name, "version": data.version, "digest": data.digest, "path": str(data.content)}


def _check_data(described: Mapping[str, Any], home: Path) -> None:
    reference = f"{described['name']}:{described['version']}"
    if load_data(home, reference).digest != described["digest"]:
        raise NotFound(f"{reference} is other data now; the run was of {described['digest']}")


def _record(home: Path, experiment: str, document: Mapping[str, Any], snapshot: Snapshot) -> RunRecord:
    run = create_run(home, experiment, document, supervised=True)
    try:
        shutil.copyfile(home / "snapshots" / f"{snapshot.id}.json", run.folder / "snapshot.json")
    except OSError as error:
        return update_run(run, state="Failed", reason=f"the snapshot's list cannot be kept: {error.strerror}")
    return run


def _check_limits(request: RunRequest) -> None:
    limits = {"cpus": request.cpus, "memory": request.memory, "shm_size": request.shm_size, "timeout": request.timeout}
    for name, value in limits.items():
        if value is not None and value <= 0:
            raise InputError(f"a job cannot do with {name} = {value}; give it more than 0, or leave that out")
    for name in ("memory", "shm_size"):
        value = limits[name]
        if value is not None and value > _MOST:
            raise InputError(f"{name} = {value} is more bytes than any machine has; give it less, or leave that out")
    if request.memory is not None and request.memory < _LEAST_MEMORY:
        raise InputError(f"no job starts with memory = {request.memory}; give it 6MiB or more")


def _check_script(request: RunRequest) -> None:
    """The script is a file inside the source folder; found out before anything is copied."""
    if not request.source.is_dir():
        raise SnapshotError(f"{request.source} is not a folder; name the folder that holds the script")
    path = request.source / request.script
    if not path.resolve().is_relative_to(request.source.resolve()):
        raise SnapshotError(f"{request.script} is not inside {request.source}; name the script relative to that folder")
    if not path.is_file():
        scripts = sorted(str(each.relative_to(request.source)) for each in request.source.rglob("*.py"))
        near = difflib.get_close_matches(request.script, scripts, 1) or scripts[:1]
        hint = f"did you mean {near[0]}?" if near else "the folder holds no .py file"
        raise SnapshotError(f"{request.source} holds no {request.script}; {hint}")


def _check_outputs(snapshot: Snapshot, source: Path) -> None:
    if any(file.path == "outputs" for file in snapshot.files):
        raise SnapshotError(f"{source / 'outputs'} is a file, but jobs write into a folder of that name: rename it")
