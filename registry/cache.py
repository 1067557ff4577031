"""Keys -> digests, so that nothing is solved or built twice. Deleting the cache loses only time.

diskcache keeps it in SQLite, safe for several processes; values are JSON, so no pickle is ever loaded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diskcache import Cache


@contextmanager
def open_cache(home: Path) -> Iterator["Cache"]:
    """The cache of `home`; a damaged one is put aside and begun anew."""
    import sqlite3

    from diskcache import Cache, JSONDisk

    folder = home / "cache" / "keys"
    try:
        cache = Cache(str(folder), disk=JSONDisk)
    except sqlite3.DatabaseError:
        folder.rename(folder.with_name(f"keys.damaged-{folder.stat().st_mtime_ns}"))
        cache = Cache(str(folder), disk=JSONDisk)
    with cache:
        yield cache
