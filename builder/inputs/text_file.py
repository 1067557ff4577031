"""A text file as people save it: UTF-8 or UTF-16, with the numbers of its lines kept for messages."""

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import SpecError

_MAX_BYTES = 4 << 20
_CREDENTIALS = re.compile(r"://[^/@\s:]*:[^/@\s]+@|https?://[^/@\s]+@|://[^/\s]+/t/[^/\s]+/")


@dataclass(frozen=True)
class Line:
    """A text of a file with where it stands."""

    file: Path
    number: int
    text: str

    @property
    def place(self) -> str:
        """`environment.yml:5`."""
        return f"{self.file.name}:{self.number}"

    def error(self, sentence: str) -> SpecError:
        """The error that says `sentence` about this line."""
        return SpecError(f"{self.file}:{self.number}: {sentence}")


def refuse_credentials(line: Line) -> None:
    """Raise SpecError when a URL in `line` holds a password or token: files like these are kept and shared."""
    if _CREDENTIALS.search(line.text):
        raise line.error(
            "credentials do not belong into this file; give them in variables, netrc or envbuild.toml "
            "(docs/private-channels.md)"
        )


def read_text(path: Path) -> str:
    """The content of `path`.

    Raises:
        SpecError: it cannot be read, is too big to be an environment file, or is not text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise SpecError(f"{path} has {len(data)} bytes; an environment file has at most {_MAX_BYTES}")
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SpecError(f"{path}:{line}: this is not {encoding.removesuffix('-sig')} text; save it as UTF-8") from None


def name_of_folder(path: Path) -> tuple[str, str]:
    """A name for a file that gives none, made of its folder's; and the note that says so."""
    name = re.sub(r"[^\w.-]", "-", path.absolute().parent.name).lstrip("-_.")
    if not re.match(r"[A-Za-z0-9]", name):  # every name begins so
        name = f"environment-{name}".rstrip("-")
    name = name[:128]
    return name, f"{path.name} has no name; it is called {name}, like its folder"
