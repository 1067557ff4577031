"""A file in, its sha256 out, read piece by piece: packages and layers are larger than what memory should hold."""

import hashlib
import os

_PIECE = 1 << 20


def sha256_of(path: "str | os.PathLike[str]") -> str:
    """The sha256 (hex) of the file at `path`.

    Raises:
        OSError: it cannot be read.
    """
    seen = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            seen.update(piece)
    return seen.hexdigest()
