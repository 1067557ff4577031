"""A folder of the workspace that scripts upload data to, and that data sets are made from."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild.builder import atomic
from envbuild.errors import InputError, StoreError

if TYPE_CHECKING:
    from .workspace import Workspace

DEFAULT = "workspacestore"


class Datastore:
    """The workspace's own place for data.

    Example:
        ```python
        datastore = workspace.get_default_datastore()
        datastore.upload(src_dir="data", target_path="datasets/cifar10")
        dataset = Dataset.File.from_files(path=(datastore, "datasets/cifar10"))
        ```
    """

    def __init__(self, workspace: "Workspace", name: str = DEFAULT) -> None:
        self.workspace = workspace
        self.name = name

    @classmethod
    def get(cls, workspace: "Workspace", datastore_name: str) -> "Datastore":
        """The datastore `datastore_name`."""
        return cls(workspace, datastore_name)

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.workspace.home / "data" / "stores" / self.name

    def upload(
        self,
        src_dir: str | Path,
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> int:
        """Copy the files below `src_dir` to `target_path`, and return how many those were.

        Files that are there stay as they are, unless `overwrite`.

        Raises:
            InputError: `src_dir` is no folder, or `target_path` leads out of the datastore.
            StoreError: the disk is full.
        """
        source = Path(src_dir)
        if not source.is_dir():
            raise InputError(f"{src_dir} is not a folder; name the folder to upload")
        uploaded = 0
        for parent, _, names in os.walk(source):
            below = Path(target_path or "") / Path(parent).relative_to(source)
            for name in sorted(names):
                if Path(parent, name).is_file():  # no socket, no link to nothing
                    uploaded += self.upload_file(Path(parent, name), str(below), overwrite, show_progress)
        return uploaded

    def upload_file(
        self, file: str | Path, target_path: str | None = None, overwrite: bool = False, show_progress: bool = True
    ) -> bool:
        """Copy one file into the folder `target_path`; whether it was copied.

        Raises:
            InputError: `file` is no file, or `target_path` leads out of the datastore.
            StoreError: the disk is full.
        """
        from envbuild.trainer.content import keep_file, link_file

        place = self.path(target_path or "") / Path(file).name
        if not Path(file).is_file():
            raise InputError(f"{file} is not a file; name the file to upload")
        if place.exists() and not overwrite:
            return False
        store = self.workspace.home / "data" / "files"
        try:
            content = keep_file(Path(file), store)
            with atomic.new_file(place) as temporary:
                temporary.unlink()
                link_file(store / content.sha256, temporary)
        except OSError as error:
            raise StoreError(f"{file} cannot be uploaded: {error.strerror or error}") from error
        if show_progress:
            print(f"Uploaded {file}")
        return True

    def path(self, path: str) -> Path:
        """The place of `path` in the datastore.

        Raises:
            InputError: it leads out of it.
        """
        place = Path(os.path.normpath(self.folder / path))
        if not place.is_relative_to(self.folder):
            raise InputError(f"{path!r} leads out of the datastore {self.name}; name a path inside of it")
        return place
