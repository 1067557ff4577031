"""An experiment: a name under which runs belong together, and the place to submit them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.errors import InputError

from .dataset import DatasetConsumption
from .environment import Environment
from .run import Run
from .script_run_config import ScriptRunConfig

if TYPE_CHECKING:
    from envbuild.settings import Settings
    from envbuild.trainer.submit import EnvironmentForRun, EnvironmentToBuild, RunRequest

    from .workspace import Workspace


class Experiment:
    """Runs that belong together.

    Example:
        ```python
        experiment = Experiment(workspace, "day1-experiment-train")
        run = experiment.submit(config)
        run.wait_for_completion(show_output=True)
        ```
    """

    def __init__(self, workspace: "Workspace", name: str) -> None:
        from envbuild.trainer.run import check_experiment

        self.workspace = workspace
        self.name = check_experiment(name)

    def submit(self, config: ScriptRunConfig, tags: Mapping[str, str] | None = None) -> Run:
        """Take a snapshot of the source, record the run, start it in the background, and return.

        An environment that is not built yet is built while the run is Preparing.

        Raises:
            InputError: something asked for cannot be right: the script, a limit, a mount, the environment's file.
        """
        from envbuild.builder.report import Silent
        from envbuild.trainer.background import supervise_in_background
        from envbuild.trainer.submit import submit

        settings = self.workspace.settings
        request = replace(_request(config, self.name, settings), tags=dict(tags or {}))
        record = supervise_in_background(submit(request, settings, Silent()), settings)
        return Run(self, record.run_id)

    def get_runs(self, tags: Mapping[str, str | None] | None = None) -> Iterator[Run]:
        """The experiment's runs, newest first; with `tags`, only those that have them (`None`: with any value)."""
        from envbuild.trainer.selection import Selection, select_runs

        selection = Selection(experiment=self.name, tags=tuple((tags or {}).items()))
        return (Run(self, record.run_id) for record in select_runs(self.workspace.home, selection))

    @classmethod
    def list(cls, workspace: "Workspace") -> list["Experiment"]:
        """Every experiment that has runs."""
        return [*workspace.experiments.values()]

    def __repr__(self) -> str:
        return f"Experiment(name={self.name!r}, workspace={self.workspace.name!r})"


def _request(config: ScriptRunConfig, experiment: str, settings: "Settings") -> "RunRequest":
    from envbuild.trainer.submit import RunRequest
    from envbuild.trainer.targets import shm_size

    how = config.run_config
    inputs = _inputs(config)
    environment, variables = _environment(how.environment, settings)
    for path in config.mounts.values():
        if not path.exists():
            raise InputError(f"{path} does not exist; mounts name folders of this machine")
    plain = {name: each.dataset.folder for name, each in inputs.items() if each.dataset.version is None}
    return RunRequest(
        source=config.source_directory,
        script=config.script,
        arguments=tuple(_argument(each, inputs) for each in config.arguments),
        experiment=experiment,
        environment=environment,
        mounts=tuple((name, path.resolve()) for name, path in {**config.mounts, **plain}.items()),
        data=tuple(
            (name, f"{each.dataset.name}:{each.dataset.version}")
            for name, each in inputs.items()
            if each.dataset.version is not None
        ),
        network=how.network,
        cpus=how.cpus,
        memory=how.memory,
        shm_size=shm_size(how.target, settings) if how.shm_size is None else how.shm_size,
        gpus=how.gpus,
        target=how.target,
        timeout=how.max_run_duration_seconds,
        variables={**variables, **how.environment_variables},
    )


def _environment(
    chosen: Environment | None, settings: "Settings"
) -> tuple["EnvironmentForRun | EnvironmentToBuild", Mapping[str, str]]:
    """What the run records of its environment, and the variables that belong to it."""
    from envbuild.registry.register import find_environment
    from envbuild.trainer.submit import EnvironmentForRun

    if chosen is None:
        own, _ = find_environment(settings, None)
        return EnvironmentForRun(own.name, own.version, own.record["image"]["digest"]), {}
    chosen.check(settings)
    return chosen.for_run(), chosen.environment_variables


def _inputs(config: ScriptRunConfig) -> dict[str, DatasetConsumption]:
    """The data sets among the arguments, by the name that the job knows each by."""
    found: dict[str, DatasetConsumption] = {}
    for argument in config.arguments:
        if isinstance(argument, DatasetConsumption):
            name = argument.name or f"input_{len(found) + 1}"
            if found.get(name, argument) != argument:
                raise InputError(f"two inputs are called {name!r}; give one another name (as_named_input)")
            found[name] = argument
    return found


def _argument(argument: object, inputs: Mapping[str, DatasetConsumption]) -> str:
    if isinstance(argument, DatasetConsumption):
        return next(f"{{{name}}}" for name, each in inputs.items() if each == argument)
    if isinstance(argument, str | int | float | Path):
        return str(argument)
    raise InputError(f"{argument!r} is no argument; give texts, numbers, paths and data sets")
