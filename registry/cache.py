"""Keys -> digests, so that nothing is solved or built twice. Deleting the cache loses only time.

diskcache keeps it in SQLite, safe for several processes; values are JSON, so no pickle is ever loaded. What cannot be
read is not there, and what cannot be kept (a full disk) is not kept: neither is ever an error.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.builder import atomic

if TYPE_CHECKING:
    from diskcache import Cache


def recall(home: Path, key: str) -> str | None:
    """What was kept under `key`, if it can be read."""
    found = _ask(home, lambda cache: cache.get(key))
    return found if isinstance(found, str) else None


def keep(home: Path, key: str, value: str) -> None:
    """Note `value` under `key`, for `recall`."""
    _ask(home, lambda cache: cache.set(key, value))


def _ask(home: Path, question: "Callable[[Cache], Any]") -> Any:
    """The answer of the cache of `home`, `None` when it cannot give one; a damaged cache is begun anew."""
    import sqlite3

    from diskcache import Cache, JSONDisk, Timeout

    folder = home / "cache" / "keys"
    for _ in range(2):
        try:
            with Cache(str(folder), disk=JSONDisk) as cache:
                return question(cache)
        except (sqlite3.OperationalError, Timeout, OSError):  # a full disk, somebody's lock: what is there is good
            return None
        except sqlite3.DatabaseError:
            atomic.discard(folder)
        except Exception:  # this entry is damaged, and fails as it likes; the next `keep` replaces it
            return None
    return None
