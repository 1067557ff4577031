"""The record of a run in, the job that a target is to run out: everything is decided here, nothing is run.

Inside the job:  /envbuild/code  the snapshot, writable, the working folder and sys.path[0]
                 /envbuild/run   what the job adds to its record (see `capture`)
                 /envbuild/py    the capture, on PYTHONPATH for this command only; the image is not touched
                 /envbuild/data/NAME  each mount and data set, read-only
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from envbuild.builder.image import Image
from envbuild.builder.sandbox.command import Mount, RootFilesystem
from envbuild.errors import InputError

from .capture import CAPTURE, DEFAULTS, RUN, capture_mounts
from .run import RunRecord
from .targets import GRACE, Job

CODE = "/envbuild/code"
DATA = "/envbuild/data"
PYTHON = "/opt/env/bin/python"

CANCEL_FILE = "cancel.json"
"""Written by who cancels a run, for its supervisor: `{"grace": seconds}`."""


def expand(arguments: Sequence[str], mounts: Iterable[str]) -> list[str]:
    """The arguments with `{NAME}` replaced by the path of that mount in the job; `{{NAME}}` becomes `{NAME}`.

    Raises:
        InputError: there is no such mount.
    """
    places = {name: f"{DATA}/{name}" for name in mounts}

    def path(match: re.Match[str]) -> str:
        literal, name = match.groups()
        if literal:
            return f"{{{literal}}}"
        if name not in places:
            known = ", ".join(places) or "none is given"
            raise InputError(
                f"{match.string!r} names the mount {name!r}; known: {known} (--mount {name}=PATH); "
                f"what is no mount is written {{{{{name}}}}}"
            )
        return places[name]

    return [re.sub(r"\{\{(\w+)\}\}|\{(\w+)\}", path, argument) for argument in arguments]


def compose_job(run: RunRecord, root: RootFilesystem, image: Image, image_name: str, work: Path) -> Job:
    """The job of `run`: its command in the file system `root`, which is that of `image`; its code in `work`/code.

    `image_name` is what an engine calls the image.
    """
    document = run.document
    limits = document.get("limits") or {}
    mounts = {**(document.get("mounts") or {}), **_data_paths(document)}
    return Job(
        argv=[PYTHON, f"{CODE}/{document['script']}", *expand(document["arguments"], mounts)],
        root=root,
        mounts=[
            Mount(work / "code", CODE, writable=True),
            # of the run's folder a job sees only what it may write: its record and its log are ours
            *capture_mounts(run.folder, work / "code", CODE),
            Mount(_passwd(root, work), "/etc/passwd"),
            *(Mount(Path(path), f"{DATA}/{name}") for name, path in mounts.items()),
        ],
        env={
            **DEFAULTS,
            **image.env,
            **(document.get("variables") or {}),
            "HOME": "/tmp",
            "PYTHONPATH": f"{CAPTURE}:{CODE}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ENVBUILD_RUN_DIR": RUN,
            "ENVBUILD_RUN_ID": run.run_id,
            "ENVBUILD_EXPERIMENT": run.experiment,
            # the source folder is sys.path[0], also for a script in a sub-folder
            **({"ENVBUILD_SOURCE": CODE} if "/" in document["script"] else {}),
        },
        cwd=CODE,
        log=run.driver_log,
        network=document["network"],
        cpus=limits.get("cpus"),
        memory=limits.get("memory"),
        shm_size=limits["shm_size"],
        run_id=run.run_id,
        image=image,
        image_name=image_name,
        gpus=limits.get("gpus") or "",
        grace=lambda: _grace(run.folder),
    )


def _data_paths(document: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(described["path"]) for name, described in (document.get("data") or {}).items()}


def _passwd(root: RootFilesystem, work: Path) -> Path:
    """The image's users and whoever the job runs as: getpass.getuser() and pathlib's home() need a line for that."""
    base = root.trees[0] / "etc/passwd"
    # a link could name any file of this machine: images come from elsewhere, too
    usable = base.is_file() and not base.is_symlink() and not base.parent.is_symlink()
    lines = base.read_text() if usable else "root:x:0:0:root:/root:/bin/bash\n"
    known = {line.split(":")[2] for line in lines.splitlines() if line.count(":") >= 2}
    own = "" if str(os.getuid()) in known else f"job:x:{os.getuid()}:{os.getgid()}:job:/tmp:/bin/bash\n"
    file = work / "passwd"
    file.write_text(lines + own)
    return file


def _grace(folder: Path) -> float:
    """Seconds between the signal and the kill, as whoever cancels the run asked for."""
    try:
        return float(json.loads((folder / CANCEL_FILE).read_bytes())["grace"])
    except (OSError, ValueError, KeyError, TypeError):
        return GRACE
