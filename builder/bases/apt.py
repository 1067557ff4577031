"""Debian packages through the host's own apt settings: its mirrors, proxies and keys, but folders of our own.

Nothing of the system is touched and no root is needed. What arrives is verified against our own pins.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import BaseError
from envbuild.images.catalog import PinnedPackage

from ..file_digest import sha256_of
from ..platforms import PLATFORMS
from ..report import Reporter

_HOOKS = ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")
"""Commands that the host wants run around its own `apt-get update`; they are about its own state, not ours."""


@dataclass(frozen=True)
class Apt:
    """apt with its state below `folder`."""

    folder: Path
    platform: str
    reporter: Reporter

    def update(self) -> str:
        """Bring the package lists; return what apt complained of last, empty for nothing.

        A source that fails is passed over as long as another has what is wanted.
        """
        for part in ("lists/partial", "archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        done = self._run("apt-get", "update", "-q")
        return _last(done.stderr) if done.stderr.strip() else ""

    def offered(self, names: Sequence[str]) -> list[PinnedPackage]:
        """What the mirror offers of `names` now.

        Raises:
            BaseError: it has no such package.
        """
        done = self._run("apt-cache", "show", "--no-all-versions", *names)
        found = {}
        for fields in _stanzas(done.stdout):
            if {"Version", "Architecture", "Size", "SHA256"} <= fields.keys():
                found[fields["Package"]] = PinnedPackage(
                    fields["Package"], fields["Version"], fields["Architecture"], int(fields["Size"]), fields["SHA256"]
                )
        missing = [name for name in names if name not in found]
        if missing:
            raise BaseError(f"apt offers no package {missing[0]} here ({_last(done.stderr)}); check its sources")
        return [found[name] for name in names]

    def versions(self, names: Sequence[str]) -> dict[str, set[str]]:
        """Every version that the lists have of `names`; a name that they do not have is absent."""
        found: dict[str, set[str]] = {}
        for fields in _stanzas(self._run("apt-cache", "show", *names).stdout):
            found.setdefault(fields["Package"], set()).add(fields.get("Version", ""))
        return found

    def download(self, packages: Sequence[PinnedPackage], folder: Path) -> dict[str, Path]:
        """Put the `.deb` files into `folder`; return package name -> file of those that the mirror still has.

        Raises:
            BaseError: what arrived is not what was pinned, or a part of it.
        """
        versions = {package.name: f"{package.name}={package.version}" for package in packages}
        done = self._run("apt-get", "download", "-q", *versions.values(), cwd=folder)
        said = done.stderr
        if done.returncode:
            for version in versions.values():  # one that is gone stops all: find out which
                said += self._run("apt-get", "download", "-q", version, cwd=folder).stderr
        files = {file.name.split("_")[0]: file for file in folder.glob("*.deb")}
        for package in packages:
            if package.name in files:
                arrived = files[package.name].stat().st_size
                if arrived < package.size:
                    raise BaseError(
                        f"{package.name} {package.version} arrived in part, {arrived} of {package.size} bytes "
                        f"({_last(said)}); try again"
                    )
                digest = sha256_of(files[package.name])
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
            "APT::Architecture": PLATFORMS[self.platform].architecture,
            "APT::Architectures": PLATFORMS[self.platform].architecture,
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Debug::NoLocking": "1",
        }
        options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
        done = subprocess.run(
            [line[0], "-c", f"{self.folder}/apt.conf", *options, *line[1:]],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
        for text in done.stderr.splitlines():
            self.reporter.log("apt", text)
        return done


def find_apt(folder: Path, platform: str, reporter: Reporter) -> Apt:
    """apt with its state below `folder`.

    Raises:
        BaseError: this machine has none, or the platform is no Debian architecture.
    """
    if not shutil.which("apt-get"):
        raise BaseError(
            "the embedded bases are made of Debian packages, and this machine has no apt-get; "
            "name a base image of a registry in envbuild.toml [bases], or register on a Debian or Ubuntu machine"
        )
    if platform not in PLATFORMS:
        raise BaseError(f"the embedded bases know {', '.join(PLATFORMS)}, not {platform}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "apt.conf").write_text("".join(f"#clear APT::Update::{name};\n" for name in _HOOKS))
    return Apt(folder, platform, reporter)


def _stanzas(output: str) -> list[dict[str, str]]:
    """The single-line fields of each package that apt-cache shows."""
    stanzas = []
    for stanza in output.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if "Package" in fields:
            stanzas.append(fields)
    return stanzas


def _last(output: str) -> str:
    return (output.strip().splitlines() or ["it says nothing"])[-1]
