"""The SDK's environment: ours, with the sections that scripts set on it."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.api.environment import Environment as OwnEnvironment
from envbuild.builder import atomic
from envbuild.registry.environments import load
from envbuild.settings import load_settings

from .exceptions import UserErrorException
from .unknown import Named, Section, UnknownName, no_counterpart

if TYPE_CHECKING:
    from envbuild.api.workspace import Workspace

    from .conda_dependencies import CondaDependencies


class Environment(OwnEnvironment, Named):
    """What a run needs: made from a file, from `python.conda_dependencies`, or got by its name."""

    def __init__(self, name: str, **unknown: object) -> None:
        for option in unknown:
            raise UnknownName(no_counterpart(f"Environment({option}=...)", option, ["name"]))
        super().__init__(name)
        self.python = PythonSection(self)
        self.docker = DockerSection()

    def register(self, workspace: "Workspace") -> "Environment":
        """Lock, build and register it; the same content never makes a new version."""
        self._settle()
        super().register(workspace)
        return self

    def build(self, workspace: "Workspace", image_build_compute: object = None) -> "Build":
        """The same as `register`: the image is built when this returns."""
        self.register(workspace)
        return Build()

    def clone(self, new_name: str) -> "Environment":
        """The same description under another name."""
        made = type(self)(new_name)
        self._settle()
        if self._kind:
            made._kind, made._source = self._kind, self._source
        elif self.version is not None:
            made._kind, made._source = "file", str(self._file())
        made.environment_variables = dict(self.environment_variables)
        return made

    def for_run(self) -> Any:
        self._settle()
        return super().for_run()

    def save_to_directory(self, path: str | Path, overwrite: bool = False) -> None:
        """Write what describes it into the folder `path`."""
        self._settle()
        super().save_to_directory(path, overwrite)

    def _settle(self) -> None:
        """Write down the packages that the script named, as the file that describes the environment."""
        if self.docker.base_image is not None:
            raise UserErrorException(
                f"the base image {self.docker.base_image!r} of {self.name} is chosen by name here: [bases] default in "
                "envbuild.toml (envbuild base list)"
            )
        check_arguments(self.docker)
        dependencies = self.python.changed()
        if dependencies is None:
            return
        text = dependencies.serialize_to_string().encode()
        name = f"{self.name}-{hashlib.sha256(text).hexdigest()[:12]}.yml"
        file = load_settings().home / "azureml" / "environments" / name
        if not file.is_file():
            atomic.write_file(file, text)
        self._kind, self._source = "file", str(file)
        self.version = self.image_digest = None  # what was registered holds other packages
        self.python = PythonSection(self)

    def _file(self) -> Path | None:
        """The environment file that describes it, when there is one."""
        if self.version is not None:
            file = load(load_settings().home, f"{self.name}:{self.version}").folder / "spec.yml"
            return file if file.is_file() else None
        is_yaml = self._kind == "file" and self._source.endswith((".yml", ".yaml"))
        return Path(self._source) if is_yaml else None


class Build:
    """A build that is done."""

    status = "Succeeded"

    def wait_for_completion(self, show_output: bool = True) -> None:
        """Return at once."""


class PythonSection(Section, Named):
    """`environment.python`: its packages, read from the file that describes them, or named by the script."""

    user_managed_dependencies: bool
    interpreter_path: str

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._dependencies: CondaDependencies | None = None
        self._as_read = ""
        self.user_managed_dependencies = False
        self.interpreter_path = "python"

    @property
    def conda_dependencies(self) -> "CondaDependencies | None":
        """The packages; what a script adds to them is asked for."""
        from .conda_dependencies import CondaDependencies

        if self._dependencies is None:
            file = self._environment._file()
            if file is not None:
                self._dependencies = CondaDependencies(str(file))
                self._as_read = self._dependencies.serialize_to_string()
        return self._dependencies

    @conda_dependencies.setter
    def conda_dependencies(self, dependencies: "CondaDependencies | None") -> None:
        self._dependencies, self._as_read = dependencies, ""

    def changed(self) -> "CondaDependencies | None":
        """The packages, when the script has named some itself or changed those of the file."""
        same = self._dependencies is None or self._dependencies.serialize_to_string() == self._as_read
        return None if same else self._dependencies


@dataclass
class DockerSection(Section, Named):
    """`environment.docker`: every job runs in the environment's image; there is nothing to switch on."""

    enabled: bool = True
    use_docker: bool = True
    base_image: str | None = None
    shm_size: str | None = None
    """Size of /dev/shm, for instance `8g`."""
    arguments: list[str] = field(default_factory=list)


def check_arguments(docker: DockerSection) -> None:
    """Nothing, when no arguments of `docker run` are set.

    Raises:
        UserErrorException: some are.
    """
    if docker.arguments:
        raise UserErrorException(
            f"docker.arguments = {docker.arguments!r} has no counterpart here: no docker run starts the job; set cpus, "
            "memory, shm_size and gpus of the run_config instead"
        )


def default_environment() -> Environment:
    """What the SDK would choose for a script that names no environment: Python and nothing more."""
    from .conda_dependencies import CondaDependencies

    environment = Environment("azureml-default")
    environment.python.conda_dependencies = CondaDependencies.create(conda_packages=["python"])
    return environment
