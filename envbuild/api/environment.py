"""An environment: described by a file, or registered under a name and a version."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.errors import InputError

_SPECS = ("spec.yml", "requirements.txt", "pixi.lock", "explicit.txt", "conda-lock.yml")
"""What a saved environment may be described by; the first one that is there counts."""

_SAID = "envbuild.json"
"""What a saved environment has beside that: its name and its variables."""

if TYPE_CHECKING:
    from envbuild.registry.request import Request
    from envbuild.settings import Settings
    from envbuild.trainer.submit import EnvironmentForRun, EnvironmentToBuild

    from .workspace import Workspace


class Environment:
    """What a script needs to run: packages, and variables.

    Made from a file it is only described; `register` locks, builds and registers it, and so does a run that uses it
    (while the run is Preparing, so that submitting takes no time).

    Example:
        ```python
        environment = Environment.from_conda_specification("pytorch-env", "pytorch-env.yml")
        environment = environment.register(workspace)
        print(environment.name, environment.version)
        ```
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.version: int | None = None
        """`None` until it is registered."""
        self.image_digest: str | None = None
        self.environment_variables: dict[str, str] = {}
        """Set in the job, beside those of the image."""
        self._kind, self._source = "", ""

    @classmethod
    def from_conda_specification(cls, name: str, file_path: str | Path) -> "Environment":
        """The environment that a conda `environment.yml` describes.

        Raises:
            InputError: there is no such file, or `name` cannot be a name.
        """
        return cls._described(name, "file", _file(file_path))

    @classmethod
    def from_pip_requirements(cls, name: str, file_path: str | Path) -> "Environment":
        """The environment that a pip `requirements.txt` describes.

        Raises:
            InputError: there is no such file, or `name` cannot be a name.
        """
        return cls._described(name, "file", _file(file_path))

    @classmethod
    def from_existing_conda_environment(cls, name: str, conda_environment_name: str) -> "Environment":
        """What a conda environment of this machine holds; its name, or the folder it is in.

        Raises:
            InputError: there is none.
        """
        from envbuild.builder.inputs.conda_prefix import find_prefix

        prefix = find_prefix(str(conda_environment_name)).absolute()
        if not (prefix / "conda-meta").is_dir():
            raise InputError(f"{prefix} is no conda environment: it has no conda-meta folder")
        return cls._described(name, "conda", str(prefix))

    @classmethod
    def get(
        cls, workspace: "Workspace", name: str, version: int | str | None = None, label: str | None = None
    ) -> "Environment":
        """A registered environment: a version, the one with the tag `label`, or the newest.

        A curated one (`curated/NAME`) is built now, unless it was before.

        Raises:
            NotFound: there is none; the message names the known ones.
        """
        from envbuild.builder.report import Silent
        from envbuild.registry.curated import ensure_curated, is_curated
        from envbuild.registry.environments import load

        if is_curated(name):
            found = ensure_curated(name, workspace.settings, Silent())
        else:
            chosen = label if version is None else version
            found = load(workspace.home, name if chosen is None else f"{name}:{chosen}")
        environment = cls(found.name)
        environment.version, environment.image_digest = found.version, found.record["image"]["digest"]
        return environment

    @classmethod
    def list(cls, workspace: "Workspace") -> Mapping[str, "Environment"]:
        """The newest version of every registered environment, by name."""
        from envbuild.registry.environments import list_environments

        names = dict.fromkeys(each.name for each in list_environments(workspace.home))
        return {name: cls.get(workspace, name) for name in names}

    @classmethod
    def load_from_directory(cls, path: str | Path) -> "Environment":
        """The environment that `save_to_directory` saved in the folder `path`.

        Raises:
            InputError: the folder holds none.
        """
        folder = Path(path)
        for name in _SPECS:
            if (folder / name).is_file():
                said = _read_said(folder / _SAID)
                environment = cls._described(said.get("name") or folder.absolute().name, "file", _file(folder / name))
                environment.environment_variables = said.get("environment_variables") or {}
                return environment
        raise InputError(f"{path} holds none of {', '.join(_SPECS)}; save_to_directory writes them")

    def register(self, workspace: "Workspace") -> "Environment":
        """Lock, build and register what is described; the same content never makes a new version.

        Raises:
            EnvbuildError: as the stages of a build say.
        """
        from envbuild.builder.report import Silent
        from envbuild.registry.register import register

        if self.version is None:
            done = register(self._request(workspace.settings), workspace.settings, Silent()).environment
            self.version, self.image_digest = done.version, done.record["image"]["digest"]
        return self

    def save_to_directory(self, path: str | Path, overwrite: bool = False) -> None:
        """Write what describes the environment into the folder `path`: a file that asks for it, its name and variables,
        and once it is registered the lock, of which `envbuild register` makes exactly the same.

        Raises:
            InputError: the folder is there already, and `overwrite` is false; or nothing describes the environment.
        """
        import json

        folder = Path(path)
        if folder.exists() and not overwrite:
            raise InputError(f"{path} is there already; say overwrite=True to write into it")
        files = self._files()
        said = {"name": self.name, "environment_variables": self.environment_variables}
        files[_SAID] = (json.dumps(said, indent=1) + "\n").encode()
        folder.mkdir(parents=True, exist_ok=True)
        for name in _SPECS:
            (folder / name).unlink(missing_ok=True)  # of another environment, which was there before
        for name, content in files.items():
            (folder / name).write_bytes(content)

    def for_run(self) -> "EnvironmentForRun | EnvironmentToBuild":
        """What a run records of it."""
        from envbuild.trainer.submit import EnvironmentForRun, EnvironmentToBuild

        if self.version is not None and self.image_digest is not None:
            return EnvironmentForRun(self.name, self.version, self.image_digest)
        if not self._kind:
            raise InputError(
                f"the environment {self.name!r} is described by nothing; make it by from_conda_specification, "
                "from_pip_requirements or from_existing_conda_environment, or get it by Environment.get"
            )
        return EnvironmentToBuild(self.name, self._kind, self._source)

    def check(self, settings: "Settings") -> None:
        """Read the description, so that what is wrong with it is said now and not once a run is preparing.

        Raises:
            InputError: it cannot be understood.
        """
        if self.version is None and self._kind:
            self._request(settings)

    @classmethod
    def _described(cls, name: str, kind: str, source: str) -> "Environment":
        from envbuild.registry.environments import check_name

        environment = cls(check_name(name))
        environment._kind, environment._source = kind, source
        return environment

    def _request(self, settings: "Settings") -> "Request":
        from envbuild.registry.request import ReadingOptions, read_request, request_from_conda

        self.for_run()  # says what is missing
        options = ReadingOptions(name=self.name)
        if self._kind == "conda":
            return request_from_conda(self._source, settings, options)
        return read_request(Path(self._source), settings, options=options)

    def _files(self) -> dict[str, bytes]:
        """What is saved of it: names and contents."""
        from envbuild.registry.environments import load
        from envbuild.settings import load_settings

        settings = load_settings()
        if self.version is None:
            request = self._request(settings)
            if not _reads_back(request.document_name, request.document, settings):
                raise InputError(
                    f"the environment {self.name!r} is described by other files too; register it first: then its lock "
                    "is saved"
                )
            return {request.document_name: request.document}
        folder = load(settings.home, f"{self.name}:{self.version}").folder
        found = {name: (folder / name).read_bytes() for name in _SPECS if (folder / name).is_file()}
        return {name: content for name, content in found.items() if _reads_back(name, content, settings)}

    def __repr__(self) -> str:
        return f"Environment(name={self.name!r}, version={self.version!r})"


def _file(path: str | Path) -> str:
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{path} is not a file; name an environment.yml or a requirements.txt")
    return str(file.resolve())


def _reads_back(name: str, content: bytes, settings: "Settings") -> bool:
    """Whether the file stands for itself: it names no other files beside it."""
    from tempfile import TemporaryDirectory

    from envbuild.registry.request import read_request

    with TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        try:
            read_request(file, settings)
        except InputError:
            return False
    return True


def _read_said(file: Path) -> dict[str, Any]:
    """What `save_to_directory` wrote beside the specification; nothing where somebody else wrote the folder.

    Raises:
        InputError: it is damaged.
    """
    import json

    if not file.is_file():
        return {}
    try:
        said = json.loads(file.read_bytes())
        variables = {str(key): str(value) for key, value in (said.get("environment_variables") or {}).items()}
        return {"name": str(said["name"]), "environment_variables": variables}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged ({error}); save the environment again") from None
