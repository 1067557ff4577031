"""The SDK's run: ours, with its names for log files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from envbuild.api.experiment import Experiment
from envbuild.api.run import Run as OwnRun

from .unknown import Named

_LOGS = "azureml-logs/"
"""The folder that the SDK shows the logs in."""


class Run(OwnRun, Named):
    """One run of an experiment."""

    def __init__(self, experiment: Experiment, run_id: str, **_: object) -> None:
        super().__init__(experiment, run_id)

    @classmethod
    def list(cls, experiment: Experiment, **_: object) -> Iterator["Run"]:
        """The experiment's runs, newest first."""
        return (cls(experiment, run.id) for run in experiment.get_runs())

    @property
    def number(self) -> int:
        """Which of the experiment's runs it is, from 1."""
        runs = [run.id for run in self.experiment.get_runs()]
        return len(runs) - runs.index(self.id)

    def wait_for_completion(  # type: ignore[override]  # the SDK's options
        self, show_output: bool = False, wait_post_processing: bool = False, raise_on_error: bool = True
    ) -> dict[str, Any]:
        """Wait until the run has ended; with `show_output`, print its log as it grows."""
        return super().wait_for_completion(show_output, raise_on_error)

    def get_metrics(
        self, name: str | None = None, recursive: bool = False, run_type: object = None, populate: bool = False
    ) -> dict[str, Any]:
        """What the run logged, by name."""
        return super().get_metrics(name)

    def get_file_names(self) -> Any:
        """Every file that is kept with the run; logs below `azureml-logs/`."""
        return [f"{_LOGS}{name}" if name.endswith("_log.txt") else name for name in super().get_file_names()]

    def download_file(
        self, name: str, output_file_path: str | Path | None = None, _validate_checksum: bool = False
    ) -> Path:
        """Copy one of the run's files."""
        return super().download_file(name.removeprefix(_LOGS), output_file_path)

    def get_portal_url(self) -> str:
        """The run's page in the studio while one is up, else the address of its folder."""
        return super().get_portal_url()
