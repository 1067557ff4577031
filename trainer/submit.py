"""A request in, the record of a finished run out: snapshot -> record -> target -> final record.

Inside the job:  /envbuild/code  the snapshot, writable, the working folder and sys.path[0]
                 /envbuild/run   what the job adds to its record: metrics.jsonl, images/, outputs/
                 /envbuild/py    the capture, on PYTHONPATH for this command only; the image is not touched
                 /envbuild/data/NAME  each mount, read-only
"""

import difflib
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.builder import atomic
from envbuild.builder.report import Reporter
from envbuild.builder.sandbox import Mount, RootFilesystem
from envbuild.errors import InputError, SnapshotError
from envbuild.settings import Settings

from .run import RunRecord, create_run, now, process_start, update_run
from .snapshot import Snapshot, materialise, take_snapshot
from .targets import Job, Target, find_target

CODE = "/envbuild/code"
RUN = "/envbuild/run"
CAPTURE = "/envbuild/py"
DATA = "/envbuild/data"

_PYTHON = "/opt/env/bin/python"
_JOB_FILES = Path(__file__).resolve().parent / "job"


@dataclass(frozen=True)
class EnvironmentForRun:
    """What a run needs to know of a registered environment."""

    name: str
    version: int
    image_digest: str
    root: RootFilesystem
    env: Mapping[str, str]
    """The variables of the image's config."""
    build_log: Path | None


@dataclass(frozen=True)
class RunRequest:
    """What a user asks to be run."""

    source: Path
    script: str
    """Relative to `source`."""
    arguments: tuple[str, ...]
    experiment: str
    environment: EnvironmentForRun
    mounts: tuple[tuple[str, Path], ...]
    network: bool
    cpus: int | None
    memory: int | None
    """Bytes."""
    shm_size: int
    """Bytes."""
    target: str


def submit(
    request: RunRequest, settings: Settings, reporter: Reporter, follow: Callable[[bytes], None] | None
) -> RunRecord:
    """Run `request` to its end; `follow` receives the log as it grows.

    Raises:
        SnapshotError: the source folder or the script is not usable; nothing is recorded then.
        SandboxError: the job could not be started; the record says Failed.
    """
    target = find_target(request.target, settings)
    _check_script(request)
    begin = time.monotonic()
    snapshot = take_snapshot(request.source, settings.home, settings.snapshot, reporter)
    run = create_run(settings.home, request.experiment, _first_record(request, snapshot))
    work = settings.home / "scratch" / f"run-{run.run_id}"
    try:
        return _run(run, request, snapshot, target, work, settings, follow, begin)
    except BaseException as error:
        state = "Canceled" if isinstance(error, KeyboardInterrupt) else "Failed"
        update_run(run, state=state, ended=now(), error=str(error) or type(error).__name__)
        raise
    finally:
        atomic.remove_tree(work)


def _run(
    run: RunRecord, request: RunRequest, snapshot: Snapshot, target: Target, work: Path, settings: Settings,
    follow: Callable[[bytes], None] | None, begin: float,
) -> RunRecord:  # fmt: skip
    process = {"pid": os.getpid(), "start": process_start(os.getpid())}
    run = update_run(run, state="Preparing", process=process)
    materialise(snapshot, settings.home, work / "code")
    shutil.copyfile(settings.home / "snapshots" / f"{snapshot.id}.json", run.folder / "snapshot.json")
    if request.environment.build_log and request.environment.build_log.is_file():
        shutil.copyfile(request.environment.build_log, run.folder / "20_image_build_log.txt")
    job = _job(run, request, work)
    prepared = time.monotonic()
    running: list[RunRecord] = []

    def started(pid: int) -> None:
        changes = {"state": "Running", "started": now(), "sandbox_pid": pid}
        running.append(update_run(run, **changes))

    outcome = target.run(job, started, follow)
    state = "Canceled" if outcome.canceled else "Completed" if outcome.exit_code == 0 else "Failed"
    return update_run(
        running[0] if running else run,
        state=state,
        ended=now(),
        exit_code=outcome.exit_code,
        seconds={"prepare": round(prepared - begin, 3), "run": round(time.monotonic() - prepared, 3)},
    )


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


def _first_record(request: RunRequest, snapshot: Snapshot) -> dict[str, Any]:
    environment = request.environment
    return {
        "script": request.script,
        "arguments": list(request.arguments),
        "command": [_PYTHON, request.script, *_expand(request)],
        "environment": {
            "name": environment.name,
            "version": environment.version,
            "image_digest": environment.image_digest,
        },
        "snapshot": {"id": snapshot.id, "files": len(snapshot.files), "size": snapshot.size},
        "source": str(request.source.resolve()),
        "mounts": {name: str(path) for name, path in request.mounts},
        "target": request.target,
        "network": request.network,
        "git": _git(request.source),
        "host": platform.node(),
        "process": {"pid": os.getpid(), "start": process_start(os.getpid())},
    }


def _expand(request: RunRequest) -> list[str]:
    """The arguments with `{NAME}` replaced by the path of that mount in the job."""
    places = {name: f"{DATA}/{name}" for name, _ in request.mounts}
    for argument in request.arguments:
        for name in re.findall(r"\{(\w+)\}", argument):
            if name not in places:
                known = ", ".join(places) or "none is given"
                raise InputError(f"{argument!r} names the mount {name!r}; known: {known} (--mount {name}=PATH)")
    return [re.sub(r"\{(\w+)\}", lambda match: places[match[1]], argument) for argument in request.arguments]


def _job(run: RunRecord, request: RunRequest, work: Path) -> Job:
    user = work / "passwd"
    # getpass.getuser() and pathlib's home() need a line for whoever the job runs as
    base = request.environment.root.trees[0] / "etc/passwd"
    lines = base.read_text() if base.is_file() else "root:x:0:0:root:/root:/bin/bash\n"
    known = {line.split(":")[2] for line in lines.splitlines() if line.count(":") >= 2}
    own = "" if str(os.getuid()) in known else f"job:x:{os.getuid()}:{os.getgid()}:job:/tmp:/bin/bash\n"
    user.write_text(lines + own)
    mounts = [
        Mount(work / "code", CODE, writable=True),
        # of the run's folder a job sees only what it may write: its record and its log are ours
        Mount(run.metrics_file, f"{RUN}/metrics.jsonl", writable=True),
        Mount(run.folder / "images", f"{RUN}/images", writable=True),
        Mount(run.outputs, f"{RUN}/outputs", writable=True),
        Mount(run.outputs, f"{CODE}/outputs", writable=True),
        Mount(_JOB_FILES, CAPTURE),
        Mount(user, "/etc/passwd"),
        *(Mount(path, f"{DATA}/{name}") for name, path in request.mounts),
    ]
    outputs = work / "code" / "outputs"
    if outputs.is_file():
        raise SnapshotError(
            f"{request.source / 'outputs'} is a file, but jobs write into a folder of that name: rename it"
        )
    outputs.mkdir(exist_ok=True)
    env = {
        **request.environment.env,
        "HOME": "/tmp",
        "PYTHONPATH": f"{CAPTURE}:{CODE}",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ENVBUILD_RUN_DIR": RUN,
        "ENVBUILD_RUN_ID": run.run_id,
        "ENVBUILD_EXPERIMENT": run.experiment,
    }
    return Job(
        argv=[_PYTHON, f"{CODE}/{request.script}", *_expand(request)],
        root=request.environment.root,
        mounts=mounts,
        env=env,
        cwd=CODE,
        log=run.driver_log,
        network=request.network,
        cpus=request.cpus,
        memory=request.memory,
        shm_size=request.shm_size,
    )


def _git(source: Path) -> dict[str, Any] | None:
    """The commit of the source folder and whether it has changes; `None` outside a repository."""
    try:
        lines = [
            subprocess.run(["git", "-C", source, *line], capture_output=True, text=True, check=True, timeout=10).stdout
            for line in (("rev-parse", "HEAD"), ("status", "--porcelain", "--", "."))
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": lines[0].strip(), "dirty": bool(lines[1].strip())}
