"""Packages that a script names one by one instead of in a file."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from .exceptions import UserErrorException
from .unknown import Named


class CondaDependencies(Named):
    """A conda environment file in the making."""

    def __init__(self, conda_dependencies_file_path: str | None = None) -> None:
        self._channels: list[str] = []
        self._packages: list[str] = []
        self._pip: list[str] = []
        self._rest: dict[str, Any] = {}
        """What else a file says: its variables."""
        if conda_dependencies_file_path:
            self._read(Path(conda_dependencies_file_path))

    @classmethod
    def create(
        cls,
        pip_indexurl: str | None = None,
        pip_packages: Sequence[str] | None = None,
        conda_packages: Sequence[str] | None = None,
        python_version: str | None = None,
        pin_sdk_version: bool = True,
    ) -> "CondaDependencies":
        """The packages named; an index is named in envbuild.toml (`[pip] index`) instead."""
        made = cls()
        if pip_indexurl:
            raise UserErrorException("name the index in envbuild.toml ([pip] index), not in the script")
        if python_version:
            made.set_python_version(python_version)
        for package in conda_packages or ():
            made.add_conda_package(package)
        for package in pip_packages or ():
            made.add_pip_package(package)
        return made

    def add_conda_package(self, conda_package: str) -> None:
        """Ask for one more conda package."""
        self._packages.append(conda_package)

    def add_pip_package(self, pip_package: str) -> None:
        """Ask for one more pip package."""
        self._pip.append(pip_package)

    def add_channel(self, channel: str) -> None:
        """Ask one more channel."""
        self._channels.append(channel)

    def set_python_version(self, version: str) -> None:
        """Ask for this version of Python."""
        self._packages = [each for each in self._packages if each.split("=")[0].strip() != "python"]
        self._packages.insert(0, f"python={version}")

    @property
    def conda_packages(self) -> Iterable[str]:
        """What is asked of conda."""
        return tuple(self._packages)

    @property
    def pip_packages(self) -> Iterable[str]:
        """What is asked of pip."""
        return tuple(self._pip)

    def serialize_to_string(self) -> str:
        """The environment file."""
        dependencies: list[Any] = list(self._packages)
        if self._pip:
            with_pip = any(each.split("=")[0].strip() == "pip" for each in self._packages)
            dependencies += [*([] if with_pip else ["pip"]), {"pip": self._pip}]
        document = {
            "channels": self._channels or ["defaults"], "dependencies": dependencies or ["python"], **self._rest,
        }  # fmt: skip
        return json.dumps(document, indent=1) + "\n"  # JSON is YAML, and needs no quoting rules

    def save_to_file(self, base_directory: str, conda_file_path: str | None = None) -> str:
        """Write the environment file into a folder, and return its name."""
        name = conda_file_path or "conda_dependencies.yml"
        folder = Path(base_directory)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(self.serialize_to_string(), encoding="utf-8")
        return name

    def _read(self, file: Path) -> None:
        try:
            document = yaml.safe_load(file.read_text(encoding="utf-8"))
            self._channels = [str(each) for each in document.get("channels") or ()]
            self._rest = {key: document[key] for key in ("variables",) if document.get(key)}
            for each in document["dependencies"]:
                if isinstance(each, dict):
                    self._pip += [str(line) for line in each.get("pip") or ()]
                else:
                    self._packages.append(str(each))
        except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            raise UserErrorException(f"{file} is no conda environment file: {error}") from None
