"""Which environment was registered last in a project: the one that `run` uses when none is named."""

import hashlib
import json
from pathlib import Path

from envbuild.builder import atomic
from envbuild.settings import Settings


def remember(settings: Settings, reference: str) -> None:
    """Note that `reference` (`NAME:VERSION`) is the project's environment now."""
    atomic.write_file(
        _note(settings), json.dumps({"project": str(_folder(settings)), "environment": reference}).encode()
    )


def last_registered(settings: Settings) -> str | None:
    """The environment that was registered last in this project, or `None`."""
    try:
        return str(json.loads(_note(settings).read_bytes())["environment"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _folder(settings: Settings) -> Path:
    return settings.project or Path.cwd()


def _note(settings: Settings) -> Path:
    key = hashlib.sha256(str(_folder(settings)).encode()).hexdigest()[:16]
    return settings.home / "projects" / f"{key}.json"
