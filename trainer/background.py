"""A queued run in, a process in a session of its own that supervises it: it outlives the terminal and the caller."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from envbuild.settings import Settings

from .run import RunRecord, change_run
from .supervision import held_lock, process_of, release_lock

LOG_NAME = "supervisor.log"
"""What the supervisor has to say beside the run's record; empty when all is well."""


def supervise_in_background(run: RunRecord, settings: Settings) -> RunRecord:
    """Start a process that supervises the queued `run`, in a session of its own, and return at once.

    It inherits the run's lock, so that no moment passes in which nobody holds that.
    """
    lock = held_lock(run.run_id)
    with (run.folder / LOG_NAME).open("ab") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "envbuild.trainer.supervisor",
                run.folder,
                Path.cwd(),
                "" if lock is None else str(lock),
            ],
            pass_fds=() if lock is None else (lock,),
            cwd=run.folder,  # `-m` looks for modules in the working folder first, and users have a json.py of their own
            env={**os.environ, "ENVBUILD_HOME": str(settings.home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    release_lock(run.run_id)
    threading.Thread(target=process.wait, daemon=True).start()  # no zombie while the caller lives on

    def name_it(document: dict[str, Any]) -> dict[str, Any]:
        return {**document, "process": process_of(process.pid)} if document["state"] == "Queued" else document

    return change_run(run, name_it)
