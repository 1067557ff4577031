"""A look at a running job every few seconds: what it uses, and what it says of itself (tags, child runs)."""

import threading
from contextlib import suppress
from typing import Any

from envbuild.errors import EnvbuildError

from .metrics import RunMetrics
from .notes import NoteReader, merged
from .resources import ResourceMeter
from .run import RunRecord, change_run

_FIRST_LOOK = 0.1
_LOOK = 5.0
"""Seconds between two looks at the job: short at first, so that short jobs are seen too."""


class Watch:
    """Looks at the job of one run from `begin` until the block ends."""

    def __init__(self, run: RunRecord) -> None:
        self._run = run
        self._notes = NoteReader(run.folder)
        self._said = RunMetrics()
        """What the record does not have yet."""
        self._meter: ResourceMeter | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def begin(self, pid: int) -> None:
        """The job runs as process `pid`."""
        self._meter = ResourceMeter(pid, self._run.resources_file)
        self._thread.start()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        with suppress(OSError, EnvbuildError):  # a full disk: how the job ended counts for more than its tags
            self._take_notes()

    def summary(self) -> dict[str, Any]:
        return self._meter.summary() if self._meter else {}

    def _look(self) -> None:
        wait = _FIRST_LOOK
        while not self._stop.wait(wait):
            wait = min(wait * 2, _LOOK)
            try:
                assert self._meter is not None
                self._meter.sample()
                self._take_notes()
            except (OSError, EnvbuildError):  # a full disk must not end the watch: the job may make room
                continue

    def _take_notes(self) -> None:
        self._said.extend(RunMetrics(notes=self._notes.read()))
        said = self._said.notes
        if said:
            change_run(self._run, lambda document: merged(document, said))
            self._said = RunMetrics()
