"""What this home remembers of registries: where blobs are, for mounting, and uploads that were begun.

    registries/HOST/repositories.json   {"sha256:...": "team/images", ...}: a repository that has the blob
    registries/HOST/uploads/KEY.json    an upload in progress; gone when it is done
    registries/HOST/.locks/

All of it may be removed: then a blob travels again that need not.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from .. import atomic

_MOST = 20_000
"""Blobs that are remembered of a registry; the oldest are forgotten."""


class Memory:
    """What is remembered of one registry."""

    def __init__(self, home: Path, registry: str) -> None:
        self._folder = home / "registries" / registry.replace(":", "_").replace("[", "").replace("]", "")

    def seen(self, repository: str, digests: Iterable[str]) -> None:
        """Note that `repository` has the blobs `digests`."""
        with atomic.key_lock(self._folder, "repositories"):
            known = self._repositories()
            for digest in digests:
                known.pop(digest, None)  # the newest come last
                known[digest] = repository
            kept = dict(list(known.items())[-_MOST:])
            atomic.write_file(self._folder / "repositories.json", json.dumps(kept).encode())

    def elsewhere(self, repository: str, digests: Iterable[str]) -> dict[str, str]:
        """Of `digests` those that another repository of the registry has, with its name."""
        known = self._repositories()
        return {each: known[each] for each in digests if known.get(each, repository) != repository}

    def one_upload(self, repository: str, digest: str, wait: Callable[[float], None]) -> AbstractContextManager[None]:
        """Held while the blob goes to the repository: a second push of this home waits, and then finds it there."""
        return atomic.key_lock(self._folder, _key(repository, digest), wait)

    def one_writer(self, repository: str) -> AbstractContextManager[None]:
        """Held while documents are written: two pushes of this home never write one at the same moment."""
        return atomic.key_lock(self._folder, _key(repository, "documents"))

    def upload(self, repository: str, digest: str) -> str | None:
        """Where an upload of the blob was begun, or `None`."""
        try:
            return str(json.loads(self._upload(repository, digest).read_bytes())["location"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def note_upload(self, repository: str, digest: str, location: str) -> None:
        """Note where the upload goes on; the address is for its owner only."""
        file = self._upload(repository, digest)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic.write_file(file, json.dumps({"location": location}).encode())

    def forget_upload(self, repository: str, digest: str) -> None:
        self._upload(repository, digest).unlink(missing_ok=True)

    def _upload(self, repository: str, digest: str) -> Path:
        return self._folder / "uploads" / f"{_key(repository, digest)}.json"

    def _repositories(self) -> dict[str, str]:
        try:
            known = json.loads((self._folder / "repositories.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return {str(digest): str(name) for digest, name in known.items()} if isinstance(known, dict) else {}


def _key(repository: str, digest: str) -> str:
    return hashlib.sha256(f"{repository}\n{digest}".encode()).hexdigest()[:32]
