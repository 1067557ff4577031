"""Debian packages through the host's own apt settings: its mirrors, proxies and keys, but folders of our own.

Nothing of the system is touched and no root is needed. What arrives is verified against our own pins.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import BaseError
from envbuild.images.catalog import PinnedPackage

_ARCHITECTURES = {"linux-64": "amd64", "linux-aarch64": "arm64"}


@dataclass(frozen=True)
class Apt:
    """apt with its state below `folder`."""

    folder: Path
    platform: str

    def update(self) -> None:
        """Bring the package lists; a source that fails is passed over as long as another has what is wanted."""
        for part in ("lists/partial", "archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        self._run("apt-get", "update", "-q")

    def has_lists(self) -> bool:
        return any((self.folder / "lists").glob("*Packages*"))

    def offered(self, names: Sequence[str]) -> list[PinnedPackage]:
        """What the mirror offers of `names` now.

        Raises:
            BaseError: it has no such package.
        """
        found = []
        for name in names:
            done = self._run("apt-cache", "show", "--no-all-versions", name)
            fields = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line and line[0] != " ")
            try:
                found.append(
                    PinnedPackage(
                        name, fields["Version"], fields["Architecture"], int(fields["Size"]), fields["SHA256"]
                    )
                )
            except KeyError:
                raise BaseError(
                    f"apt offers no package {name} here ({_last(done.stderr)}); check its sources"
                ) from None
        return found

    def download(self, packages: Sequence[PinnedPackage], folder: Path) -> dict[str, Path]:
        """Put the `.deb` files into `folder`; return package name -> file of those that the mirror still has.

        Raises:
            BaseError: what arrived is not what was pinned.
        """
        versions = {package.name: f"{package.name}={package.version}" for package in packages}
        if self._run("apt-get", "download", "-q", *versions.values(), cwd=folder).returncode:
            for version in versions.values():  # one that is gone stops all: find out which
                self._run("apt-get", "download", "-q", version, cwd=folder)
        files = {file.name.split("_")[0]: file for file in folder.glob("*.deb")}
        for package in packages:
            if package.name in files:
                digest = hashlib.sha256(files[package.name].read_bytes()).hexdigest()
                if digest != package.sha256:
                    raise BaseError(
                        f"{package.name} {package.version} has sha256 {digest}, pinned is {package.sha256}; refused"
                    )
        return files

    def _run(self, *line: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        settings = {
            "Dir::State::Lists": f"{self.folder}/lists",
            "Dir::State::status": f"{self.folder}/status",
            "Dir::Cache": str(self.folder),
            "Dir::Cache::archives": f"{self.folder}/archives",
            "APT::Architecture": _ARCHITECTURES[self.platform],
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Debug::NoLocking": "1",
        }
        options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
        return subprocess.run(
            [line[0], *options, *line[1:]],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )


def find_apt(folder: Path, platform: str) -> Apt:
    """apt with its state below `folder`.

    Raises:
        BaseError: this machine has none, or the platform is no Debian architecture.
    """
    if not shutil.which("apt-get"):
        raise BaseError(
            "the embedded bases are made of Debian packages, and this machine has no apt-get; "
            "name a base image of a registry in envbuild.toml [bases], or register on a Debian or Ubuntu machine"
        )
    if platform not in _ARCHITECTURES:
        raise BaseError(f"the embedded bases know {', '.join(_ARCHITECTURES)}, not {platform}")
    folder.mkdir(parents=True, exist_ok=True)
    return Apt(folder, platform)


def _last(output: str) -> str:
    return (output.strip().splitlines() or ["it says nothing"])[-1]
