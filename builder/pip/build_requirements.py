"""What a source needs to be built (PEP 518), as wheels with their hashes.

A source says that itself, and its words reach uv as the lines of a requirements file, outside of the sandbox: each must
be a requirement and nothing else. `--no-binary NAME` would have uv build, and so run, a source distribution here.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from envbuild.errors import PackageError, SolveError
from envbuild.settings import Settings

from ..fetching.credentials import Credentials, redacted
from ..lock import BuildRequirement, without_credentials
from .uv import Target, ask_again, compile_command, find_uv, uv_environment
from .wheel_tags import best_wheel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class BuildSystem:
    """The table `[build-system]` of a pyproject.toml, or what stands for it (PEP 517)."""

    requires: tuple[str, ...] = ("setuptools>=40.8.0",)
    backend: str = "setuptools.build_meta:__legacy__"
    backend_path: tuple[str, ...] = ()


def read_build_system(folder: Path, shown: str) -> BuildSystem:
    """How the source in `folder` wants to be built.

    Raises:
        PackageError: it says nothing, or something that cannot be understood.
    """
    file = folder / "pyproject.toml"
    if not file.is_file():
        if not (folder / "setup.py").is_file():
            raise PackageError(f"{shown} holds neither pyproject.toml nor setup.py, so it cannot be built")
        return BuildSystem()
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("build-system")
        if table is None:
            return BuildSystem()
        path = tuple(str(each) for each in table.get("backend-path", ()))
        if any(each.startswith("/") or ".." in Path(each).parts for each in path):
            raise ValueError("backend-path leaves the folder")
        return BuildSystem(
            tuple(str(each) for each in table["requires"]), str(table.get("build-backend", BuildSystem.backend)), path
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackageError(f"{shown} has a pyproject.toml that cannot be understood: {error}") from None


def lock_requirements(requires: Sequence[str], target: Target, settings: Settings) -> tuple[BuildRequirement, ...]:
    """The wheels of `requires` and of what they need, sorted by name.

    Raises:
        SolveError: something is no requirement, or no wheels fit; the message carries uv's reason.
    """
    if not requires:
        return ()
    _refuse_options(requires)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "pylock.toml"
        credentials = Credentials(settings)
        done = _compile(requires, target, settings, credentials, output)
        if done.returncode and ask_again(done.stderr, settings, credentials):
            done = _compile(requires, target, settings, credentials, output)
        if done.returncode:
            reason = redacted("\n  ".join(line for line in done.stderr.splitlines() if line.strip()))
            raise SolveError(f"what a build needs ({', '.join(requires)}) cannot be had as wheels:\n  {reason}")
        packages = tomllib.loads(output.read_text(encoding="utf-8")).get("packages", [])
    found = []
    for package in packages:
        urls = {}
        for wheel in package.get("wheels", []):
            url = without_credentials(urljoin(package.get("index", ""), wheel.get("url") or wheel["path"]))
            urls[url.rpartition("/")[2]] = (url, wheel["hashes"]["sha256"])
        best = best_wheel(urls, target.python, target.platform, target.machines)
        if best is None:
            raise SolveError(f"what a build needs, {package['name']}, has no wheel for {target.platform}")
        found.append(BuildRequirement(package["name"], str(package["version"]), *urls[best]))
    return tuple(sorted(found, key=lambda each: each.name))


def _refuse_options(requires: Sequence[str]) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    for each in requires:
        try:
            Requirement(each)
        except (InvalidRequirement, TypeError):
            raise SolveError(f"a build asks for {each!r}, which is no requirement (PEP 508); refused") from None


def _compile(
    requires: Sequence[str], target: Target, settings: Settings, credentials: Credentials, output: Path
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*compile_command(find_uv(), target, settings, output), "--only-binary", ":all:"],
        cwd=output.parent,
        input="\n".join(requires) + "\n",
        env=uv_environment(settings, credentials),
        capture_output=True,
        text=True,
        check=False,
    )
