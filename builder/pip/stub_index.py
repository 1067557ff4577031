"""What conda brings, shown to uv as an index of empty wheels (PEP 427, PEP 503), so that pip never replaces it.

uv looks at a stub's version and at nothing more.
"""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

_YEAR_AND_LETTER = re.compile(r"(\d{4})([a-z])")


def write_stubs(provided: Mapping[str, str], index: Path) -> None:
    """Write a stub of every package of `provided` (PyPI name -> conda's version) into the folder `index`."""
    for name, version in provided.items():
        if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
            _write(index, name, pep440(version))


def pep440(version: str) -> str:
    """conda's `version` as Python's packaging orders it: `2024a` is `2024.1`, `1.1.1w` is `1.1.1`."""
    from packaging.version import InvalidVersion, Version

    letter = _YEAR_AND_LETTER.fullmatch(version)
    if letter:
        return f"{letter[1]}.{ord(letter[2]) - ord('a') + 1}"
    try:
        return str(Version(version))
    except InvalidVersion:
        begin = re.match(r"\d+(\.\d+)*", version)
        return begin[0] if begin else "0"


def _write(index: Path, name: str, version: str) -> None:
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
