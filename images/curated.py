"""Reads the curated environments: `environments/NAME/`, a folder each.

about.toml         what it is for, and the base below it
environment.yml    what is asked for, as any user would write it
conda-lock.yml     what that gave when it was locked last (`envbuild curated refresh`); may be missing
"""

import difflib
import sys
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import InputError, NotFound

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FOLDER = Path(__file__).resolve().parent / "environments"


@dataclass(frozen=True)
class CuratedEnvironment:
    """One curated environment, as it was shipped."""

    name: str
    description: str
    base: str
    folder: Path

    @property
    def spec_file(self) -> Path:
        return self.folder / "environment.yml"

    @property
    def lock_file(self) -> Path:
        """Where its lock lies, if it has one."""
        return self.folder / "conda-lock.yml"


def curated_names(folder: Path = _FOLDER) -> list[str]:
    """The names of the curated environments."""
    return sorted(file.parent.name for file in folder.glob("*/about.toml"))


def read_curated(name: str, folder: Path = _FOLDER) -> CuratedEnvironment:
    """The curated environment `name`.

    Raises:
        NotFound: there is none; the message lists the known ones.
        InputError: its files are damaged.
    """
    known = curated_names(folder)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise NotFound(f"no curated environment is named {name!r}; {hint}")
    file = folder / name / "about.toml"
    try:
        about = tomllib.loads(file.read_text(encoding="utf-8"))
        return CuratedEnvironment(name, str(about["description"]), str(about["base"]), file.parent)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{file} cannot be read ({error}); install envbuild again") from None
