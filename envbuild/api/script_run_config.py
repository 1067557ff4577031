"""What is to be run: a folder, a script in it, its arguments, its environment, and where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .dataset import DatasetConsumption
from .environment import Environment

Argument = str | int | float | Path | DatasetConsumption


@dataclass
class RunConfiguration:
    """How a script is run; a part of every `ScriptRunConfig`."""

    environment: Environment | None = None
    """`None` for the project's own: the last one registered in it."""
    target: str = "local"
    environment_variables: dict[str, str] = field(default_factory=dict)
    network: bool = True
    cpus: int | None = None
    memory: int | None = None
    """Bytes."""
    shm_size: int | None = None
    """Bytes of /dev/shm; `None` for the target's, 2 GiB."""
    gpus: str = ""
    """`all`, a number, or ids with commas between; empty for none."""
    max_run_duration_seconds: float | None = None


class ScriptRunConfig:
    """A script of a source folder, ready to be submitted.

    `arguments` may hold numbers, paths and data sets (`dataset.as_mount()`), each becoming one argument of the script;
    `mounts` names folders of this machine that the job sees read-only, at the path for which `{NAME}` stands in an
    argument.

    Example:
        ```python
        config = ScriptRunConfig(source_directory="src", script="train.py", arguments=["--lr", 0.1])
        config.run_config.environment = environment
        ```
    """

    def __init__(
        self,
        source_directory: str | Path,
        script: str,
        arguments: Sequence[Argument] | None = None,
        compute_target: str | None = None,
        environment: Environment | None = None,
        mounts: Mapping[str, str | Path] | None = None,
        max_run_duration_seconds: float | None = None,
    ) -> None:
        self.source_directory = Path(source_directory)
        self.script = script
        self.arguments = list(arguments or ())
        self.mounts = {name: Path(path) for name, path in (mounts or {}).items()}
        self.run_config = RunConfiguration(
            environment=environment,
            target=compute_target or "local",
            max_run_duration_seconds=max_run_duration_seconds,
        )
