"""A submitted run, as a control script sees it; and the way to the run that a job belongs to (`Run.get_context`)."""

import codecs
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.errors import EnvbuildError, InputError, NotFound

if TYPE_CHECKING:
    from envbuild.trainer.metrics import RunMetrics
    from envbuild.trainer.run import RunRecord

    from .environment import Environment
    from .experiment import Experiment
    from .workspace import Workspace

_POLL = 0.2
"""Seconds between two looks at a run that is waited for."""


class Run:
    """One run of an experiment.

    Example:
        ```python
        run = experiment.submit(config)
        print(run.get_portal_url())
        run.wait_for_completion(show_output=True)
        print(run.get_metrics()["loss"])
        ```
    """

    def __init__(self, experiment: "Experiment", run_id: str) -> None:
        from envbuild.trainer.run import load_run

        self.experiment = experiment
        self.id = load_run(experiment.workspace.home, f"{experiment.name}/{run_id}").run_id

    @classmethod
    def get(cls, workspace: "Workspace", run_id: str) -> "Run":
        """The run with this id (or its beginning, or `last`).

        Raises:
            NotFound: there is none.
        """
        from envbuild.trainer.run import load_run

        from .experiment import Experiment

        record = load_run(workspace.home, run_id)
        return cls(Experiment(workspace, record.experiment), record.run_id)

    @staticmethod
    def get_context(*_: object, **__: object) -> Any:
        """Inside a job: the run that it belongs to, to log to.

        Raises:
            EnvbuildError: this process is no job.
        """
        if "ENVBUILD_RUN_DIR" not in os.environ:
            raise EnvbuildError(
                "this process is no job, so there is no run to log to; run the script by: envbuild run FOLDER SCRIPT"
            )
        from _envbuild_run import Run as Captured  # type: ignore[import-not-found]  # mounted into every job

        return Captured.get_context()

    @property
    def record(self) -> "RunRecord":
        """The run's record as it is now."""
        from envbuild.trainer.run import load_folder

        return load_folder(self._folder)

    @property
    def status(self) -> str:
        """The state: Queued, Preparing, Running, Completed, Failed, Canceled or Lost."""
        return self.record.state

    def get_status(self) -> str:
        """The same as `status`."""
        return self.status

    def get_details(self) -> dict[str, Any]:
        """The record, with what other tools call its parts: `runId`, `status`, `startTimeUtc`, `logFiles`, ..."""
        record = self.record
        return {
            **record.document,
            "runId": self.id,
            "target": record.document.get("target"),
            "status": record.state,
            "startTimeUtc": record.document.get("started"),
            "endTimeUtc": record.document.get("ended"),
            "properties": dict(record.properties),
            "tags": dict(record.tags),
            "logFiles": {name: str(self._folder / name) for name in self.get_file_names() if name.endswith("_log.txt")},
        }

    def get_portal_url(self) -> str:
        """The run's page in the studio while one is up, else the `file://` address of its folder."""
        from envbuild.trainer.portal import portal_url

        return portal_url(self.record)

    def wait_for_completion(
        self, show_output: bool = False, raise_on_error: bool = True, timeout_seconds: float | None = None
    ) -> dict[str, Any]:
        """Wait until the run has ended, and return its details; with `show_output`, print its log as it grows.

        Raises:
            EnvbuildError: it failed or was lost (unless `raise_on_error` is false), or has not ended in time.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        if show_output:
            self._show_output(deadline)
        while not (record := self.record).is_final:
            self._expect_time(deadline)
            time.sleep(_POLL)
        if raise_on_error and record.state in ("Failed", "Lost"):
            raise EnvbuildError(f"the run {self.id} is {record.state} ({record.reason}); its log: {record.driver_log}")
        return self.get_details()

    def get_metrics(self, name: str | None = None) -> dict[str, Any]:
        """What the run logged, by name: one value as itself, several as a list; tables and rows as mappings."""
        found: dict[str, list[Any]] = {}
        metrics = self._metrics()
        for metric in metrics.names():
            series = metrics.main(metric)
            if series is not None:
                found[metric] = list(series.values)
        for entry in metrics.entries:
            if not entry.run:
                found.setdefault(entry.name, []).append(entry.value)
        return {key: values[0] if len(values) == 1 else values for key, values in found.items() if name in (None, key)}

    def get_file_names(self) -> list[str]:
        """Every file that is kept with the run: logs, outputs, images; paths below its folder."""
        from envbuild.trainer.run_files import files_inside

        return [name for name in files_inside(self._folder) if not Path(name).name.startswith(".tmp-")]

    def download_file(self, name: str, output_file_path: str | Path | None = None) -> Path:
        """Copy one of the run's files (default: into the working folder under its own name), and return the copy.

        Raises:
            NotFound: the run keeps no such file.
        """
        from envbuild.trainer.run_files import open_inside

        source = open_inside(self._folder, name)
        if source is None:
            raise NotFound(f"{self.id} keeps no file {name!r}; it keeps: {', '.join(self.get_file_names()[:20])}")
        target = Path(output_file_path) if output_file_path else Path(Path(name).name)
        if target.is_dir():
            target = target / Path(name).name
        target.parent.mkdir(parents=True, exist_ok=True)
        with source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
        return target

    def download_files(self, prefix: str = "", output_directory: str | Path = ".") -> list[Path]:
        """Copy every file whose path begins with `prefix`, keeping the folders."""
        names = [name for name in self.get_file_names() if name.startswith(prefix)]
        return [self.download_file(name, Path(output_directory) / name) for name in names]

    def cancel(self, grace: float | None = None) -> None:
        """Ask the job to end, wait `grace` seconds (default: 10), kill it; return once the run has ended.

        Raises:
            InputError: it has ended already.
        """
        from envbuild.trainer.cancel import cancel
        from envbuild.trainer.targets import GRACE

        cancel(self.record, GRACE if grace is None else grace)

    def tag(self, key: str, value: str | None = None) -> None:
        """Set the tag `key`."""
        self.set_tags({key: "" if value is None else value})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set several tags; others stay."""
        from envbuild.trainer.run import tag_run

        tag_run(self.record, tags)

    def get_tags(self) -> dict[str, Any]:
        """The tags, whoever set them."""
        return dict(self.record.tags)

    def get_properties(self) -> dict[str, Any]:
        """The properties that the script set."""
        return dict(self.record.properties)

    def get_children(self) -> dict[str, Mapping[str, Any]]:
        """The child runs that the script made: id -> name, state, tags, properties."""
        return dict(self.record.children)

    def get_environment(self) -> "Environment":
        """The environment that the run uses.

        Raises:
            InputError: it is not built yet.
        """
        from .environment import Environment

        described = self.record.document["environment"]
        if "version" not in described:
            raise InputError(f"the environment {described['name']} of {self.id} is not built yet; wait for the run")
        return Environment.get(self.experiment.workspace, described["name"], described["version"])

    def restore_snapshot(self, path: str | Path) -> Path:
        """Write the code that the run ran into the new folder `path`, and return it.

        Raises:
            InputError: the folder is there already.
            NotFound: the snapshot is not kept any more.
        """
        from envbuild.trainer.snapshot import load_snapshot, materialise

        target, home = Path(path), self.experiment.workspace.home
        if target.exists():
            raise InputError(f"{path} is there already; name a folder that is not")
        materialise(load_snapshot(self.record.document["snapshot"]["id"], home), home, target)
        return target

    @property
    def _folder(self) -> Path:
        return self.experiment.workspace.home / "runs" / self.experiment.name / self.id

    def _metrics(self) -> "RunMetrics":
        from envbuild.trainer.metrics import read_run

        return read_run(self._folder)

    def _show_output(self, deadline: float | None) -> None:
        from envbuild.trainer.follow import follow_log

        print(f"RunId: {self.id}\nWeb View: {self.get_portal_url()}\n", flush=True)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for piece in follow_log(self.record, lambda: self._expect_time(deadline)):
            sys.stdout.write(decoder.decode(piece))
            sys.stdout.flush()

    def _expect_time(self, deadline: float | None) -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise EnvbuildError(f"the run {self.id} is still {self.status}; it goes on, wait for it again or cancel it")

    def __repr__(self) -> str:
        return f"Run(experiment={self.experiment.name!r}, id={self.id!r}, status={self.status!r})"
