"""Registered environments: immutable, numbered per name, in plain files that can be read without us.

environments/NAME/VERSION/   spec.yml  conda-lock.yml  environment.json  20_image_build_log.txt
"""

import difflib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.builder import atomic
from envbuild.builder.image import Image, Layer
from envbuild.builder.log import FILE_NAME as LOG_NAME
from envbuild.builder.sandbox import RootFilesystem
from envbuild.builder.store import Store
from envbuild.errors import InputError, NotFound, StoreError

RECORD = "environment.json"
LOCK = "conda-lock.yml"

_NAME = re.compile(r"[a-zA-Z0-9][\w.-]{0,127}")


@dataclass(frozen=True)
class Environment:
    """One version of a registered environment."""

    name: str
    version: int
    folder: Path
    record: Mapping[str, Any]
    """The content of `environment.json`."""

    @property
    def reference(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def environment_id(self) -> str:
        return str(self.record["environment_id"])

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The image's layers, lowest first."""
        return tuple(
            Layer(each["diff_id"], each["size"], each["tree"], each["title"], tuple(each["packages"]))
            for each in self.record["image"]["layers"]
        )

    @property
    def lock_file(self) -> Path:
        return self.folder / LOCK

    @property
    def build_log(self) -> Path:
        return self.folder / LOG_NAME

    def image(self, store: Store) -> Image:
        """The image's documents.

        Raises:
            StoreError: the store has lost them.
        """
        described = self.record["image"]
        return Image(store.blob(described["config_digest"]), store.blob(described["digest"]), self.layers)

    def root(self, store: Store) -> RootFilesystem:
        """The trees that make the environment's root file system.

        Raises:
            StoreError: a layer is gone.
        """
        return RootFilesystem(tuple(store.tree(layer) for layer in self.layers))


def image_record(image: Image) -> dict[str, Any]:
    """How `environment.json` describes an image."""
    return {
        "digest": image.digest,
        "config_digest": image.config_digest,
        "layers": [
            {
                "diff_id": layer.diff_id,
                "size": layer.size,
                "tree": layer.tree,
                "title": layer.title,
                "packages": list(layer.packages),
            }
            for layer in image.layers
        ],
    }


def add_version(home: Path, name: str, record: Mapping[str, Any], files: Mapping[str, Path]) -> Environment:
    """Register the next version of `name`; `files` are copied into its folder under their keys.

    Raises:
        InputError: `name` cannot be a name.
    """
    check_name(name)
    folder = home / "environments" / name
    with atomic.key_lock(home / "environments", name):
        version = max(_versions(folder), default=0) + 1
        whole = {"name": name, "version": version, **record}
        with atomic.new_folder(folder / str(version)) as target:
            for file_name, source in files.items():
                shutil.copyfile(source, target / file_name)
            (target / RECORD).write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")
    return Environment(name, version, folder / str(version), whole)


def load(home: Path, reference: str) -> Environment:
    """The environment `NAME` (its newest version) or `NAME:VERSION`.

    Raises:
        NotFound: there is none; the message lists what there is.
        StoreError: its record is damaged.
    """
    name, colon, version = reference.partition(":")
    check_name(name)
    known = _versions(home / "environments" / name)
    if not known:
        raise NotFound(f"no environment is named {name!r}; {_known_names(home, name)}")
    if colon and (not version.isdecimal() or int(version) not in known):
        shown = ", ".join(str(each) for each in known)
        raise NotFound(f"{name} has no version {version!r}; it has {shown}")
    return _read(home, name, int(version) if colon else known[-1])


def list_environments(home: Path) -> list[Environment]:
    """Every version of every environment, by name and version."""
    folder = home / "environments"
    names = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    return [_read(home, name, version) for name in names for version in _versions(folder / name)]


def find_version(home: Path, name: str, environment_id: str) -> Environment | None:
    """The newest version of `name` that is the environment `environment_id`."""
    for version in reversed(_versions(home / "environments" / name)):
        environment = _read(home, name, version)
        if environment.environment_id == environment_id:
            return environment
    return None


def find_lock(home: Path, spec_key: str) -> Path | None:
    """The lock of any environment that was registered from the same request."""
    for environment in reversed(list_environments(home)):
        if environment.record.get("spec_key") == spec_key and environment.lock_file.is_file():
            return environment.lock_file
    return None


def check_name(name: str) -> str:
    """Return `name` when it can name an environment.

    Raises:
        InputError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name an environment: use letters, digits, '.', '-' and '_', at most 128, "
            "and begin with a letter or digit"
        )
    return name


def _versions(folder: Path) -> list[int]:
    try:
        return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())
    except FileNotFoundError:
        return []


def _read(home: Path, name: str, version: int) -> Environment:
    folder = home / "environments" / name / str(version)
    try:
        record = json.loads((folder / RECORD).read_bytes())
        return Environment(name, version, folder, {"environment_id": record["environment_id"], **record})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder / RECORD} cannot be read ({error}); remove {folder}") from None


def _known_names(home: Path, name: str) -> str:
    folder = home / "environments"
    known = sorted(each.name for each in folder.iterdir() if _versions(each)) if folder.is_dir() else []
    if not known:
        return "none is registered yet: envbuild register environment.yml"
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
