"""An environment of conda on this machine in, a spec out: every package pinned with its build, and what pip added.

`conda-meta/*.json` is read directly; conda itself is asked only where an environment of a given name lies.
"""

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from envbuild.errors import SpecError

from ..lock import without_credentials
from ..spec import CondaDependency, EnvironmentSpec
from .installed import installed_requirements

_PROGRAMS = ("conda", "mamba", "micromamba")


def find_prefix(name: str) -> Path:
    """The folder of the environment `name` (or the folder itself, when that is what it is).

    Raises:
        SpecError: there is none, or there is no conda to ask.
    """
    if "/" in name or name in (".", "..") or (Path(name) / "conda-meta").is_dir():
        return Path(name)
    program = next((each for each in _PROGRAMS if shutil.which(each)), None)
    if program is None:
        raise SpecError(
            f"no conda is on the PATH to ask where {name} lies; name the environment's folder: --from-conda PREFIX"
        )
    done = subprocess.run([program, "env", "list", "--json"], capture_output=True, text=True, check=False)
    try:
        prefixes = [Path(each) for each in json.loads(done.stdout)["envs"]]
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise SpecError(f"{program} env list --json does not answer ({last}); name the folder instead") from None
    for prefix in prefixes:
        if prefix.name == name or (name == "base" and prefix == prefixes[0]):
            return prefix
    known = ", ".join(sorted(prefix.name for prefix in prefixes)) or "none"
    raise SpecError(f"{program} knows no environment {name!r}; known: {known}")


def read_conda_prefix(prefix: Path, folder: Path) -> EnvironmentSpec:
    """Read the conda environment at `prefix`; paths of local packages are made relative to `folder`.

    Raises:
        SpecError: there is no conda environment, or a record in it is damaged.
    """
    records = [_record(file) for file in sorted((prefix / "conda-meta").glob("*.json"))]
    if not records:
        raise SpecError(f"{prefix} is no conda environment: it has no conda-meta/*.json")
    channels = Counter(_channel(record) for record in records)
    dependencies = [
        CondaDependency(record["name"], f"=={record['version']}", record["build"], _channel(record))
        for record in records
    ]
    requirements, notes = [], []
    for site_packages in sorted(prefix.glob("lib/python3*/site-packages")):
        owned = _names_owned(site_packages, prefix, records)
        found, said = installed_requirements(site_packages, folder, left_out=owned)
        requirements += found
        notes += said
    if requirements:
        notes.append(f"pip has installed {', '.join(each.name for each in requirements)} there; kept as a pip section")
    return EnvironmentSpec(
        name=re.sub(r"[^\w.-]", "-", prefix.absolute().name).lstrip("._-") or "environment",
        channels=tuple(channel for channel, _ in channels.most_common()),
        dependencies=tuple(sorted(dependencies, key=lambda each: each.name)),
        pip=tuple(sorted(each.line for each in requirements)),
        variables=_variables(prefix),
        source=folder / prefix.name,
        notes=tuple(notes),
    )


def _record(file: Path) -> Mapping[str, Any]:
    try:
        record: Mapping[str, Any] = json.loads(file.read_bytes())
        for key in ("name", "version", "build", "url"):
            if not isinstance(record[key], str):
                raise TypeError(f"{key} is no text")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(f"{file} is damaged ({error}); install that package again with conda") from None
    return record


def _channel(record: Mapping[str, Any]) -> str:
    """`CHANNEL/SUBDIR/FILE` -> CHANNEL."""
    return without_credentials(record["url"].rsplit("/", 2)[0])


def _names_owned(site_packages: Path, prefix: Path, records: Iterable[Mapping[str, Any]]) -> set[str]:
    """Normalised names of the distributions in `site_packages` that conda packages brought."""
    from packaging.utils import canonicalize_name

    inside = site_packages.relative_to(prefix).as_posix()
    names = set()
    for record in records:
        for path in record.get("files") or ():
            match = re.fullmatch(rf"{re.escape(inside)}/([^/]+?)-[^/-]+(?:-py[\d.]+)?\.(?:dist|egg)-info(?:/.*)?", path)
            if match:
                names.add(str(canonicalize_name(match[1])))
    return names


def _variables(prefix: Path) -> tuple[tuple[str, str], ...]:
    """What `conda env config vars set` has set (`conda-meta/state`)."""
    try:
        state = json.loads((prefix / "conda-meta" / "state").read_bytes())
        return tuple(sorted((str(name), str(value)) for name, value in state.get("env_vars", {}).items()))
    except (OSError, ValueError, AttributeError):
        return ()
