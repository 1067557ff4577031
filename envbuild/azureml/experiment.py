"""The SDK's experiment: ours, with compute targets mapped to this machine."""

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from envbuild.api.experiment import Experiment as OwnExperiment
from envbuild.errors import InputError
from envbuild.registry.register import find_environment
from envbuild.settings import parse_size

from .compute import ComputeTarget, read_targets
from .environment import check_arguments, default_environment
from .run import Run
from .unknown import Named

if TYPE_CHECKING:
    from .script_run_config import ScriptRunConfig
    from .workspace import Workspace


submitted: list[Run] = []
"""Every run that the script of this process has submitted."""


class Experiment(OwnExperiment, Named):
    """Runs that belong together."""

    workspace: "Workspace"

    def __init__(self, workspace: "Workspace", name: str, **_: object) -> None:
        super().__init__(workspace, name)

    def submit(  # type: ignore[override]  # the SDK's options
        self, config: "ScriptRunConfig", tags: Mapping[str, str] | None = None, **_: object
    ) -> Run:
        """Submit the run, and return at once."""
        how: Any = config.run_config
        how.target = self._target(how.target)
        if how.environment is None:
            how.environment = self._own_environment()
        check_arguments(how.docker)
        asked = how.docker.shm_size or (how.environment.docker.shm_size if how.environment else None)
        if asked:
            how.shm_size = parse_size(asked, "docker.shm_size")
        run = Run(self, super().submit(config, tags).id)
        submitted.append(run)
        return run

    def get_runs(  # type: ignore[override]
        self, type: object = None, tags: Any = None, properties: object = None, include_children: bool = False
    ) -> Iterator[Run]:
        """The experiment's runs, newest first."""
        wanted = {tags: None} if isinstance(tags, str) else tags
        return (Run(self, run.id) for run in super().get_runs(wanted))

    def _target(self, chosen: Any) -> str:
        """The target of this machine for the one that the script names."""
        name = chosen.name if isinstance(chosen, ComputeTarget) else str(chosen)
        own = self.workspace.own_targets
        if name in own:
            return name
        if name not in read_targets(self.workspace):
            known = ", ".join(read_targets(self.workspace))
            sys.stderr.write(f"note: no compute target is called {name!r} here (known: {known})\n")
        sys.stderr.write(f"note: the run on {name!r} runs on this machine (target local)\n")
        return "local"

    def _own_environment(self) -> Any:
        """None when the project has an environment of its own, which is used then; else the default one."""
        try:
            environment, how = find_environment(self.workspace.settings, None)
        except InputError:
            sys.stderr.write("note: the script names no environment; it runs with Python and nothing more\n")
            return default_environment()
        sys.stderr.write(f"note: environment {environment.reference} ({how})\n")
        return None
