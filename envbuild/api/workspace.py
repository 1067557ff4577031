"""A workspace: one home folder with its environments, experiments and data, as seen from one project."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.builder import atomic
from envbuild.errors import InputError, NotFound
from envbuild.settings import Settings, load_settings

if TYPE_CHECKING:
    from .datastore import Datastore
    from .environment import Environment
    from .experiment import Experiment

CONFIG = Path(".envbuild") / "config.json"
"""Where `write_config` writes, below the project folder."""

_PLACES = (CONFIG, Path("config.json"))


class Workspace:
    """Where environments, runs and data are kept.

    Example:
        ```python
        workspace = Workspace.from_config()
        print(workspace.name, list(workspace.environments))
        ```
    """

    def __init__(self, name: str, settings: Settings | None = None) -> None:
        self.name = name
        self.settings = settings or load_settings()

    @classmethod
    def create(cls, name: str, home: str | Path | None = None, exist_ok: bool = True) -> "Workspace":
        """A workspace with the home folder `home` (default: the one in force), made when it is not there.

        Raises:
            InputError: the folder holds runs or environments already, and `exist_ok` is false.
        """
        settings = load_settings()
        if home is not None:
            settings = replace(settings, home=Path(home).expanduser().absolute())
        if not exist_ok and any((settings.home / folder).is_dir() for folder in ("environments", "runs")):
            raise InputError(f"the workspace at {settings.home} is there already; say exist_ok=True to use it")
        settings.home.mkdir(parents=True, exist_ok=True)
        return cls(name, settings)

    @classmethod
    def from_config(cls, path: str | Path | None = None) -> "Workspace":
        """The workspace that `write_config` wrote down here or in a folder above; without one, the one in force.

        Raises:
            InputError: the file `path` is not there or cannot be understood.
        """
        settings = load_settings()
        file = _named(Path(path)) if path is not None else _nearest()
        if file is None:
            return cls(settings.project_name or (settings.project or Path.cwd()).name, settings)
        try:
            document = json.loads(file.read_bytes())
            name = str(document["workspace_name"])
            home = document.get("home")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file} is no workspace's file ({error}); write it anew by write_config") from None
        return cls(name, replace(settings, home=(file.parent / home).resolve()) if home else settings)

    @classmethod
    def get(cls, name: str) -> "Workspace":
        """The workspace in force, called `name`."""
        return cls(name)

    def write_config(self, path: str | Path | None = None) -> Path:
        """Write down this workspace for `from_config`, below the folder `path` (default: the working folder)."""
        file = Path(path or Path.cwd()).absolute() / CONFIG
        document = {"workspace_name": self.name, "home": str(self.home)}
        atomic.write_file(file, (json.dumps(document, indent=1) + "\n").encode())
        return file

    @property
    def home(self) -> Path:
        """The folder in which everything is kept."""
        return self.settings.home

    @property
    def environments(self) -> Mapping[str, "Environment"]:
        """The newest version of every registered environment."""
        from .environment import Environment

        return Environment.list(self)

    @property
    def experiments(self) -> Mapping[str, "Experiment"]:
        """Every experiment that has runs."""
        from envbuild.trainer.run import run_folders

        from .experiment import Experiment

        names = sorted({folder.parent.name for folder in run_folders(self.home)})
        return {name: Experiment(self, name) for name in names}

    @property
    def compute_targets(self) -> Mapping[str, str]:
        """The targets that runs may name, and each one's type."""
        from envbuild.trainer.targets import known_targets

        return known_targets(self.settings)

    def get_default_datastore(self) -> "Datastore":
        """The folder of this workspace that `upload` fills."""
        from .datastore import Datastore

        return Datastore(self)

    def __repr__(self) -> str:
        return f"Workspace(name={self.name!r}, home={str(self.home)!r})"


def _named(path: Path) -> Path:
    for file in (path, *(path / place for place in _PLACES)):
        if file.is_file():
            return file
    raise NotFound(f"{path} is no workspace's file and holds none; write one by Workspace.write_config")


def _nearest() -> Path | None:
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / CONFIG).is_file():
            return folder / CONFIG
    return None
