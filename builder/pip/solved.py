"""What uv has solved (pylock.toml, PEP 751) in, its packages out, as the word of somebody else.

Where uv asks source distributions what they need, their code can write wherever uv can: the file may be a link to one
of this machine, or say anything.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""As uv writes names, normalised: they become parts of paths."""
_LONGEST = 64 << 20
"""Bytes; a package is some kilobytes there."""


def read_solved(file: Path) -> list[dict[str, Any]]:
    """The packages of `file`, each with its name and the URL or path and the sha256 of its files.

    Raises:
        ValueError: it is no such file.
    """
    if file.is_symlink() or not file.is_file() or file.stat().st_size > _LONGEST:
        raise ValueError("it is no plain file")
    try:
        packages: list[dict[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8")).get("packages", [])
        for package in packages:
            _check(package)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no pylock.toml ({type(error).__name__})") from None
    return packages


def _check(package: Mapping[str, Any]) -> None:
    if not _NAME.fullmatch(package["name"]):
        raise ValueError("a name is none")
    files = [*package.get("wheels", []), *(package[kind] for kind in ("sdist", "archive") if kind in package)]
    texts = [package.get("version", ""), package.get("index", "")]
    for file in files:
        texts += [file["hashes"]["sha256"], file["url"] if "url" in file else file["path"]]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a value is no text")
