"""A virtual environment in, a spec out: its Python's minor version, and what pip has installed in it, pinned."""

from dataclasses import replace
from pathlib import Path

from envbuild.errors import SpecError

from ..spec import DEFAULT_CHANNEL, EnvironmentSpec
from .installed import installed_requirements
from .match_spec import parse_dependency

_FILE = "pyvenv.cfg"


def read_venv(path: Path, folder: Path) -> EnvironmentSpec:
    """Read the virtual environment at `path`; paths of local packages are made relative to `folder`.

    Raises:
        SpecError: there is no virtual environment, or a package in it cannot be asked for again.
    """
    if not (path / _FILE).is_file():
        raise SpecError(f"{path} is no virtual environment: it has no {_FILE}")
    version = _version(path)
    minor = ".".join(version.split(".")[:2])
    places = sorted(path.glob("lib/python3*/site-packages"))
    if len(places) != 1:
        raise SpecError(f"{path} has {len(places)} folders lib/python3*/site-packages; expected one")
    requirements, notes = installed_requirements(places[0], folder, left_out=("pip",))
    if not requirements:
        raise SpecError(f"{path} has nothing installed but pip; install what you need in it first")
    spec = EnvironmentSpec(
        name=path.absolute().name.lstrip("._-") or "venv",
        channels=(DEFAULT_CHANNEL,),
        dependencies=(parse_dependency(f"python={minor}"),),
        pip=tuple(sorted(each.line for each in requirements)),
        variables=(),
        source=folder / path.name,
        notes=(f"{path} has Python {version}; python={minor} is asked for", *notes),
    )
    if spec.name in ("venv", "env", "virtualenv"):
        return replace(spec, name=path.absolute().parent.name.lstrip("._-") or spec.name)
    return spec


def _version(path: Path) -> str:
    """`version` of the standard library's venv, `version_info` of virtualenv and uv."""
    pairs = (line.partition("=") for line in (path / _FILE).read_text(encoding="utf-8", errors="replace").splitlines())
    values = {key.strip().lower(): value.strip() for key, _, value in pairs}
    version = values.get("version_info") or values.get("version") or ""
    parts = version.split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts[:2]):
        raise SpecError(f"{path / _FILE} does not say which Python it is of; expected a line such as version = 3.11.2")
    return ".".join(parts[:3])
