"""The workspace of the SDK: names of a cloud account, kept in its own file, on top of this machine's home folder."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.api.workspace import Workspace as OwnWorkspace
from envbuild.builder import atomic

from .exceptions import UserErrorException
from .unknown import Named

if TYPE_CHECKING:
    from .compute import ComputeTarget
    from .data import Dataset, Datastore
    from .experiment import Experiment

_FOLDER, _FILE = ".azureml", "config.json"


class Workspace(OwnWorkspace, Named):
    """A workspace; subscription, resource group and region are remembered and mean nothing here."""

    def __init__(
        self, subscription_id: str = "", resource_group: str = "", workspace_name: str = "", *_: object, **__: object
    ) -> None:
        super().__init__(workspace_name)
        self.subscription_id = subscription_id
        self.resource_group = resource_group
        self.location = "local"

    @classmethod
    def create(  # type: ignore[override]  # the SDK's options, here and below
        cls, name: str, auth: object = None, subscription_id: str = "", resource_group: str = "", **_: object
    ) -> "Workspace":
        """The workspace; the home folder is made when it is not there."""
        OwnWorkspace.create(name)
        return cls(subscription_id or "", resource_group or "", name)

    @classmethod
    def get(
        cls, name: str, auth: object = None, subscription_id: str = "", resource_group: str = "", **_: object
    ) -> "Workspace":
        """The workspace; they are all this machine's home."""
        return cls(subscription_id or "", resource_group or "", name)

    @classmethod
    def from_config(  # type: ignore[override]
        cls, path: str | None = None, auth: object = None, _logger: object = None, _file_name: str | None = None
    ) -> "Workspace":
        """The workspace of `.azureml/config.json` here or in a folder above.

        Raises:
            UserErrorException: `path` holds no such file, or the file cannot be understood.
        """
        file = _find(Path(path) if path else Path.cwd(), _file_name or _FILE, upward=path is None)
        if file is None and path is not None:
            raise UserErrorException(f"{path} holds no {_file_name or _FILE}; write one by Workspace.write_config")
        if file is None:
            sys.stderr.write("note: there is no .azureml/config.json here or above; the workspace is this machine's\n")
            return cls(workspace_name=Path.cwd().name)
        try:
            document = json.loads(file.read_bytes())
            return cls(
                str(document.get("subscription_id", "")), str(document.get("resource_group", "")),
                str(document["workspace_name"]),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserErrorException(f"{file} is no workspace's file ({error}); write it by write_config") from None

    def write_config(  # type: ignore[override]
        self, path: str | None = None, file_name: str | None = None
    ) -> None:
        """Write down the names for `from_config`: into the folder `path`, or `.azureml/` of the working folder."""
        file = Path(path or _FOLDER) / (file_name or _FILE)
        document = {
            "subscription_id": self.subscription_id, "resource_group": self.resource_group,
            "workspace_name": self.name,
        }  # fmt: skip
        atomic.write_file(file.absolute(), (json.dumps(document, indent=4) + "\n").encode())

    def get_details(self) -> dict[str, Any]:
        """The names, and where everything is kept."""
        return {
            "name": self.name, "subscription_id": self.subscription_id, "resource_group": self.resource_group,
            "location": self.location, "home": str(self.home),
        }  # fmt: skip

    @property
    def own_targets(self) -> Mapping[str, str]:
        """The targets of this machine, which runs may name too."""
        return super().compute_targets

    @property
    def compute_targets(self) -> Mapping[str, "ComputeTarget"]:  # type: ignore[override]
        """Every compute target that was created, and this machine's own."""
        from .compute import AmlCompute, read_targets

        return {name: AmlCompute(self, name) for name in read_targets(self)}

    @property
    def environments(self) -> Mapping[str, Any]:
        """The newest version of every registered environment."""
        from .environment import Environment

        return Environment.list(self)

    @property
    def experiments(self) -> Mapping[str, "Experiment"]:
        """Every experiment that has runs."""
        from .experiment import Experiment

        return {name: Experiment(self, name) for name in super().experiments}

    @property
    def datasets(self) -> Mapping[str, "Dataset"]:
        """The newest version of every registered data set."""
        from .data import Dataset

        return Dataset.get_all(self)

    @property
    def datastores(self) -> Mapping[str, "Datastore"]:
        """The one that there is."""
        store = self.get_default_datastore()
        return {store.name: store}

    def get_default_datastore(self) -> "Datastore":
        """The folder of the home that `upload` fills."""
        from .data import Datastore

        return Datastore(self)

    def __repr__(self) -> str:
        return f"Workspace.create(name={self.name!r}, home={str(self.home)!r})"


def _find(start: Path, name: str, upward: bool) -> Path | None:
    start = start.absolute()
    if start.is_file():
        return start
    for folder in (start, *start.parents) if upward else (start,):
        for file in (folder / _FOLDER / name, folder / "aml_config" / name, folder / name):
            if file.is_file():
                return file
    return None
