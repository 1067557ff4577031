"""Where runs happen: one file per target, one interface."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from envbuild.builder.sandbox import Mount, RootFilesystem
from envbuild.errors import NotFound
from envbuild.settings import Settings

_KNOWN = ("local",)


@dataclass(frozen=True)
class Job:
    """What a target is to run: everything is decided, nothing is looked up there."""

    argv: Sequence[str]
    root: RootFilesystem
    mounts: Sequence[Mount]
    env: Mapping[str, str]
    cwd: str
    log: Path
    """Receives standard output and standard error, byte for byte."""
    network: bool
    cpus: int | None
    memory: int | None
    """Bytes of data (heap and anonymous memory) that each process may have."""
    shm_size: int
    """Bytes of /dev/shm."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    exit_code: int
    canceled: bool


class Target(Protocol):
    """A place that runs jobs."""

    def run(self, job: Job, started: Callable[[int], None], follow: Callable[[bytes], None] | None) -> Outcome:
        """Run `job` to its end; `started` is told the process id, `follow` receives the log as it grows.

        Raises:
            SandboxError: the job could not be started.
        """


def find_target(name: str, settings: Settings) -> Target:
    """The target `name`.

    Raises:
        NotFound: there is none; the message lists the known ones.
    """
    if name not in _KNOWN:
        near = difflib.get_close_matches(name, _KNOWN, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(_KNOWN)}"
        raise NotFound(f"no target is called {name!r}; {hint}")
    from .local import Local

    return Local(settings)
