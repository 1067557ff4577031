"""The SDK's datastores and data sets: folders of the home."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.api.dataset import Dataset as OwnDataset
from envbuild.api.datastore import Datastore as OwnDatastore

from .exceptions import UserErrorException
from .unknown import Named, UnknownName, no_counterpart

if TYPE_CHECKING:
    from .workspace import Workspace


class Datastore(OwnDatastore, Named):
    """The workspace's own place for data."""

    def __init__(self, workspace: "Workspace", name: str = "workspaceblobstore") -> None:
        super().__init__(workspace, name)

    def upload(  # type: ignore[override]  # returns what `from_files` takes
        self, src_dir: str, target_path: str | None = None, overwrite: bool = False, show_progress: bool = False
    ) -> tuple["Datastore", str]:
        """Copy the files below `src_dir` to `target_path`."""
        super().upload(src_dir, target_path, overwrite, show_progress)
        return self, target_path or ""

    def upload_files(
        self,
        files: Sequence[str],
        relative_root: str | None = None,
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = False,
    ) -> tuple["Datastore", str]:
        """Copy some files to `target_path`, keeping their paths below `relative_root`."""
        for file in files:
            folder = Path(file).parent
            below = folder.relative_to(relative_root) if relative_root else Path()
            super().upload_file(file, str(Path(target_path or "") / below), overwrite, show_progress)
        return self, target_path or ""


class _File:
    """`Dataset.File`"""

    @staticmethod
    def from_files(path: Any, validate: bool = True, **_: object) -> "Dataset":
        """The files below a folder, or below `(datastore, path)`."""
        if isinstance(path, Sequence) and not isinstance(path, str | tuple) and len(path) == 1:
            path = path[0]
        return Dataset(Dataset.from_files(path).folder)

    @staticmethod
    def upload_directory(
        src_dir: str, target: tuple[Datastore, str], overwrite: bool = False, show_progress: bool = True, **_: object
    ) -> "Dataset":
        """Upload a folder, and make a data set of it."""
        target[0].upload(src_dir, target[1], overwrite, show_progress)
        return _File.from_files(target)


class _Tabular(Named):
    """`Dataset.Tabular`: tables are files here."""

    def __getattr__(self, name: str) -> Any:
        raise UserErrorException(f"Dataset.Tabular.{name} has no counterpart here; use Dataset.File.from_files")


class Dataset(OwnDataset):
    """The files of one folder."""

    File = _File
    Tabular = _Tabular()

    @classmethod
    def get_by_name(cls, workspace: Any, name: str, version: int | str | None = "latest") -> "Dataset":
        """A registered data set."""
        found = OwnDataset.get_by_name(workspace, name, version)
        return cls(found.folder, found.name, found.version)

    @classmethod
    def get_all(cls, workspace: Any) -> "Mapping[str, Dataset]":
        """The newest version of every registered data set."""
        return {name: cls(each.folder, each.name, each.version) for name, each in OwnDataset.get_all(workspace).items()}

    def register(
        self,
        workspace: Any,
        name: str,
        description: object = None,
        tags: object = None,
        create_new_version: bool = True,
    ) -> "Dataset":
        """Keep the files as the next version of `name`; the same content makes no new version."""
        kept = super().register(workspace, name)
        return type(self)(kept.folder, kept.name, kept.version)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        known = [each for each in dir(type(self)) if not each.startswith("_")]
        raise UnknownName(no_counterpart(f"Dataset.{name}", name, known))
