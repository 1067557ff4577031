"""Data for runs: files of a folder or datastore, or a registered, versioned data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.errors import InputError

from .datastore import Datastore

if TYPE_CHECKING:
    from .workspace import Workspace

DataPath = str | Path | tuple[Datastore, str]


@dataclass(frozen=True)
class Dataset:
    """The files of one folder.

    Example:
        ```python
        dataset = Dataset.from_files("data").register(workspace, "cifar10")
        config = ScriptRunConfig("src", "train.py", arguments=["--data", dataset.as_mount()])
        ```
    """

    folder: Path
    name: str = ""
    """Its name, once it is registered."""
    version: int | None = None
    """`None` until it is registered: then the folder is mounted as it is, and may change."""

    @classmethod
    def from_files(cls, path: DataPath | Sequence[DataPath]) -> "Dataset":
        """The files below `path`: a folder of this machine, or `(datastore, path in it)`.

        Raises:
            InputError: there is no such folder, or there are several.
        """
        if isinstance(path, list):
            if len(path) != 1:
                raise InputError("a data set is made of one folder; put what belongs together into one")
            path = path[0]
        if isinstance(path, tuple) and len(path) == 2 and isinstance(path[0], Datastore):
            folder = path[0].path(path[1])
        elif isinstance(path, str | Path):
            folder = Path(path).absolute()
        else:
            raise InputError(f"{path!r} is no path; name a folder, or (datastore, path in it)")
        if not folder.exists():
            raise InputError(f"{folder} does not exist; upload the data first, or name another folder")
        return cls(folder)

    @classmethod
    def get_by_name(cls, workspace: "Workspace", name: str, version: int | str | None = None) -> "Dataset":
        """The registered data set `name`, in its newest version unless one is named.

        Raises:
            NotFound: there is none; the message names the known ones.
        """
        from envbuild.trainer.data import load_data

        data = load_data(workspace.home, f"{name}:{version}" if version not in (None, "latest") else name)
        return cls(data.content, data.name, data.version)

    @classmethod
    def get_all(cls, workspace: "Workspace") -> Mapping[str, "Dataset"]:
        """The newest version of every registered data set."""
        from envbuild.trainer.data import list_data

        return {data.name: cls(data.content, data.name, data.version) for data in list_data(workspace.home)}

    def register(self, workspace: "Workspace", name: str) -> "Dataset":
        """Keep the files as the next version of `name`; the same content makes no new version.

        Raises:
            InputError: `name` cannot be one, or the folder holds what cannot be kept.
        """
        from envbuild.builder.report import Silent
        from envbuild.trainer.data import put_data

        data, _ = put_data(self.folder, name, workspace.home, Silent())
        return Dataset(data.content, data.name, data.version)

    def as_named_input(self, name: str) -> "DatasetConsumption":
        """The data set as a run's input, called `name`."""
        if not name.isidentifier():
            raise InputError(f"{name!r} cannot name an input: use letters, digits and '_', and begin with a letter")
        return DatasetConsumption(self, name)

    def as_mount(self) -> "DatasetConsumption":
        """The data set as a run's input: in the arguments, the path at which the job sees it."""
        return DatasetConsumption(self, self.name)


@dataclass(frozen=True)
class DatasetConsumption:
    """A data set as the input of a run; as an argument it becomes its path in the job."""

    dataset: Dataset
    name: str
    """What the job knows it by; empty for a name given at submission."""

    def as_mount(self, path_on_compute: str | None = None) -> "DatasetConsumption":
        """Mounted read-only (which is all there is: nothing is copied)."""
        return self if path_on_compute is None else replace(self, name=_last_part(path_on_compute))

    def as_download(self, path_on_compute: str | None = None) -> "DatasetConsumption":
        """The same as `as_mount`: the files are on this machine already."""
        return self.as_mount(path_on_compute)


def _last_part(path: str) -> str:
    name = "".join(character if character.isalnum() else "_" for character in Path(path).name)
    return name if name.isidentifier() else f"input_{name}"
