"""Wheels, by pip: its configuration on this machine says where they come from.

A wheel that lies in the folder already is used as it is, with no network. Only when pip's own sources have not got an
exact version are the recipe's further sources asked, so nothing waits for a source that is not needed.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from envbuild.errors import EnvbuildError, FetchError

from ..report import Reporter
from .recipe import PackageRecipe

_ABSENT = ("Could not find a version that satisfies", "No matching distribution found")


def download_wheels(
    packages: Sequence[PackageRecipe], python: str, folder: Path, reporter: Reporter
) -> dict[str, Path]:
    """Return conda name -> wheel in `folder`; what is missing there is downloaded for Python `python` (`3.11`).

    Raises:
        FetchError: no source has a wheel of that version, or a source cannot be reached.
        EnvbuildError: this Python has no pip.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [package for package in packages if _find(folder, package) is None]
    if missing:
        with reporter.task("download wheels", len(missing), "wheels") as task:
            for group in _in_one_go(missing, python, folder, reporter):
                task.advance(group)
    return {package.name: _found(folder, package) for package in packages}


def _in_one_go(missing: Sequence[PackageRecipe], python: str, folder: Path, reporter: Reporter) -> list[int]:
    """Ask for all at once, and one by one only if that fails: one pip takes as long to start as a wheel to arrive."""
    if not _pip([package.requirement for package in missing], python, folder, reporter):
        return [len(missing)]
    done = []
    for package in missing:
        _download(package, python, folder, reporter)
        done.append(1)
    return done


def _download(package: PackageRecipe, python: str, folder: Path, reporter: Reporter) -> None:
    refusals = []
    for source in ("", *package.sources):
        refusal = _pip([package.requirement], python, folder, reporter, source)
        if not refusal:
            return
        where = source or "pip's own sources"
        if not any(words in refusal for words in _ABSENT):
            raise FetchError(f"pip could not download {package.requirement} from {where}: {refusal}")
        reporter.log("download", f"{package.requirement} is not in {where}")
        refusals.append(where)
    raise FetchError(
        f"no wheel of {package.requirement} for Python {python} in {', '.join(refusals)}; "
        "correct the version, or name an index that has it as sources = [...] in the recipe"
    )


def _pip(requirements: Sequence[str], python: str, folder: Path, reporter: Reporter, source: str = "") -> str:
    """Download `requirements`; return nothing, or pip's reason for not doing it."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-") as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--no-input", "--dest", temporary]
        if python != f"{sys.version_info.major}.{sys.version_info.minor}":
            command += ["--python-version", python]
        if source:
            command += ["--index-url", source]
        done = subprocess.run([*command, *requirements], capture_output=True, text=True)
        for line in (done.stdout + done.stderr).splitlines():
            reporter.log("download", line)
        if done.returncode:
            return _reason(done.stderr)
        for wheel in Path(temporary).glob("*.whl"):
            wheel.replace(folder / wheel.name)
    return ""


def _reason(stderr: str) -> str:
    if "No module named pip" in stderr:
        raise EnvbuildError(
            f"{sys.executable} has no pip, which downloads the wheels; run: {sys.executable} -m ensurepip"
        )
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR")]
    text = " ".join(errors) or stderr.strip() or "it said nothing"
    before, mark, _ = text.partition(" (from versions")  # hundreds of versions help nobody
    return before if mark else text


def _find(folder: Path, package: PackageRecipe) -> Path | None:
    """The wheel of exactly this version; pip chose its tags when it was downloaded."""
    prefix = package.pypi_name.replace("-", "_")
    for wheel in sorted(folder.glob("*.whl")):
        if not wheel.name.lower().replace("-", "_").replace(".", "_").startswith(f"{prefix}_"):
            continue
        name, version, _, _ = parse_wheel_filename(wheel.name)
        if canonicalize_name(name) == package.pypi_name and version == Version(package.version):
            return wheel
    return None


def _found(folder: Path, package: PackageRecipe) -> Path:
    wheel = _find(folder, package)
    if wheel is None:
        raise FetchError(
            f"pip answered {package.requirement} with another version; is one of its sources misconfigured?"
        )
    return wheel
