"""Where a run can be looked at: on the studio's page while one is up, else in its folder."""

import json
from pathlib import Path

from .run import RunRecord
from .supervision import process_start

STUDIO_FILE = "studio.json"
"""Written by a studio into the home folder: `{"url", "pid", "start"}`."""


def studio_url(home: Path) -> str | None:
    """The address of the studio that is up, or `None`."""
    try:
        document = json.loads((home / STUDIO_FILE).read_bytes())
        start = process_start(int(document["pid"]))
        return str(document["url"]).rstrip("/") if start is not None and start == str(document["start"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def portal_url(run: RunRecord) -> str:
    """The run's page in the studio, or the `file://` address of its folder."""
    studio = studio_url(run.home)
    return f"{studio}/runs/{run.experiment}/{run.run_id}" if studio else run.folder.as_uri()
