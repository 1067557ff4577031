"""The `pip:` section, solved by uv beside the packages that conda gives.

Each conda package is shown to uv as an empty wheel of the same name and version in a first index, so that pip never
replaces what conda installs. The section goes to uv as it stands, as a requirements file beside the environment
file; every wheel is locked with its sha256. Wheels only: building from source is not reproducible.
"""

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from envbuild.errors import FetchError, SolveError
from envbuild.settings import Settings

from .lock import LockedPackage, without_credentials
from .spec import EnvironmentSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PLATFORMS = {"linux-64": "x86_64-manylinux_2_28", "linux-aarch64": "aarch64-manylinux_2_28"}


def solve_pip(
    spec: EnvironmentSpec, provided: Mapping[str, str], settings: Settings, platform: str
) -> list[LockedPackage]:
    """What pip must bring; `provided` is PyPI name -> version of what conda brings.

    Raises:
        SolveError: no versions fit together, or a package has no wheel; the message carries uv's reason.
        FetchError: an index cannot be reached.
    """
    if not spec.pip:
        return []
    with tempfile.TemporaryDirectory() as folder:
        stubs = Path(folder) / "simple"
        for name, version in provided.items():
            _write_stub(stubs, name, version)
        target = Path(folder) / "pylock.toml"
        done = subprocess.run(
            _command(settings, provided["python"], platform, stubs, target),
            # read from standard input, its paths count from the folder of the environment file
            cwd=spec.source.absolute().parent,
            input="\n".join(spec.pip) + "\n",
            # the system's certificates, which hold a company's own (under its newer and its older name)
            env={**os.environ, "UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise _failure(spec, done.stderr.replace(f"file://{stubs}", "the conda packages"))
        lock = tomllib.loads(target.read_text(encoding="utf-8"))
        stub_url = f"file://{stubs}"
        return [_locked(spec, each) for each in lock.get("packages", []) if not _is_stub(each, stub_url, folder)]


def _command(settings: Settings, python: str, platform: str, stubs: Path, target: Path) -> list[str]:
    from uv import find_uv_bin

    line = [find_uv_bin(), "pip", "compile", "--quiet", "--no-config", "--no-progress", "--no-annotate", "--no-header"]
    line += ["--python-version", python, "--python-platform", _PLATFORMS[platform], "--only-binary", ":all:"]
    line += ["--generate-hashes", "--format", "pylock.toml", "--index", f"file://{stubs}"]
    for index in settings.pip.extra_indexes:
        line += ["--index", index]
    if settings.pip.index:
        line += ["--default-index", settings.pip.index]
    for links in settings.pip.find_links:
        line += ["--find-links", links]
    return [*line, "-", "--output-file", str(target)]


def _write_stub(index: Path, name: str, version: str) -> None:
    """An empty wheel (PEP 427) in a simple index (PEP 503): uv looks at its version and at nothing more."""
    folder = index / re.sub(r"[-_.]+", "-", name).lower()
    folder.mkdir(parents=True, exist_ok=True)
    safe = re.sub(r"[-_.]+", "_", name)
    info = f"{safe}-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: envbuild\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    wheel = folder / f"{safe}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD")))
    (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{wheel.name}">{wheel.name}</a>', encoding="utf-8")


def _is_stub(package: Mapping[str, Any], stub_url: str, folder: str) -> bool:
    wheels = package.get("wheels", [])
    places = [package.get("index", ""), *(wheel.get("url") or wheel.get("path") or "" for wheel in wheels)]
    return any(place.startswith(stub_url) or folder in place for place in places)


def _locked(spec: EnvironmentSpec, package: Mapping[str, Any]) -> LockedPackage:
    """The wheel of `package` that fits the platform: uv lists those that do, the best one first."""
    wheels = package.get("wheels") or ([package["archive"]] if "archive" in package else [])
    if not wheels:
        raise SolveError(f"{spec.source}: {package['name']} comes without a wheel; envbuild installs wheels only")
    wheel = wheels[0]
    url = wheel.get("url") or (spec.source.absolute().parent / wheel["path"]).resolve().as_uri()
    return LockedPackage(
        manager="pip",
        name=package["name"],
        version=str(package.get("version", "0")),
        url=without_credentials(urljoin(package.get("index", ""), url)),
        sha256=wheel["hashes"]["sha256"],
    )


def _failure(spec: EnvironmentSpec, stderr: str) -> SolveError | FetchError:
    reason = re.sub(r"//[^/@\s]*@", "//", "\n  ".join(line.rstrip() for line in stderr.splitlines() if line.strip()))
    if re.search(r"Failed to fetch|error sending request|dns error|Connection refused", stderr):
        return FetchError(f"{spec.source}: an index of the pip section cannot be read; set [pip] index:\n  {reason}")
    return SolveError(f"{spec.source}: the pip section cannot be satisfied beside the conda packages:\n  {reason}")
