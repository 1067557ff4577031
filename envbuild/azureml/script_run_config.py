"""The SDK's ways to say what is run, and how."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from envbuild.api.script_run_config import Argument
from envbuild.api.script_run_config import RunConfiguration as OwnRunConfiguration
from envbuild.api.script_run_config import ScriptRunConfig as OwnScriptRunConfig

from .environment import DockerSection, Environment
from .exceptions import UserErrorException
from .unknown import Named, Section

_WHOLE_MONTH = 2592000


@dataclass
class RunConfiguration(Section, OwnRunConfiguration, Named):
    """`config.run_config`: environment, target and variables of a run."""

    target: Any = "local"
    """A name, or a compute target."""
    docker: DockerSection = field(default_factory=DockerSection)
    script: str = ""
    arguments: list[Any] = field(default_factory=list)
    framework: str = "Python"


class ScriptRunConfig(OwnScriptRunConfig, Named):
    """A script of a source folder, ready to be submitted."""

    def __init__(
        self,
        source_directory: str,
        script: str | None = None,
        arguments: Sequence[Argument] | None = None,
        run_config: RunConfiguration | None = None,
        _telemetry_values: object = None,
        compute_target: Any = None,
        environment: Environment | None = None,
        command: object = None,
        resume_from: object = None,
        distributed_job_config: object = None,
        max_run_duration_seconds: float | None = None,
        docker_runtime_config: object = None,
    ) -> None:
        for option, value in (
            ("command", command), ("resume_from", resume_from), ("distributed_job_config", distributed_job_config),
        ):  # fmt: skip
            if value is not None:
                raise UserErrorException(f"ScriptRunConfig({option}=...) has no counterpart here; name a script")
        if script is None:
            raise UserErrorException("ScriptRunConfig needs a script, relative to its source_directory")
        super().__init__(source_directory, script, arguments)
        how = run_config or RunConfiguration()
        how.environment = environment or how.environment
        how.target = compute_target or how.target
        how.max_run_duration_seconds = max_run_duration_seconds or how.max_run_duration_seconds or _WHOLE_MONTH
        self.run_config = how
