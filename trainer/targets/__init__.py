"""Where runs happen: one file per target, one interface."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from envbuild.builder.image import Image
from envbuild.builder.report import Reporter, Silent
from envbuild.builder.sandbox.command import Mount, RootFilesystem
from envbuild.errors import NotFound, SettingsError
from envbuild.settings import Settings, parse_size

from .gpus import FOLDERS

SESSION_FOLDER = "/envbuild/project"
GRACE = 10.0
"""Seconds between the signal that asks a job to end and the kill, unless something else is asked for."""

_KINDS = ("docker", "local")
_LOCAL = ("shm-size", "cdi-spec-dirs")
"""The settings of a target of type `local`."""


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
    run_id: str = ""
    image: Image | None = None
    """The image that `root` is of, for targets that start containers from images."""
    image_name: str = ""
    """What an engine is to call the image: `NAME:VERSION`."""
    gpus: str = ""
    """`all`, a number of GPUs, or their ids separated by commas; empty for none."""
    reporter: Reporter = field(default_factory=Silent)
    """Hears how far the image is on its way to an engine that lacks it, which may take minutes."""
    grace: Callable[[], float] = lambda: GRACE
    """Seconds between the signal that asks the job to end and the kill; asked when that signal comes."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    exit_code: int
    canceled: bool
    reason: str = ""
    """What the target knows of why the job failed, as a sentence: that it ran out of memory, for instance."""


@dataclass(frozen=True)
class Session:
    """What a target is to run on the caller's terminal."""

    argv: Sequence[str]
    root: RootFilesystem
    image: Image
    """That `root` is of."""
    image_name: str
    env: Mapping[str, str]
    folder: Path
    """Mounted writable at `SESSION_FOLDER`, the working folder."""
    network: bool
    shm_size: int
    gpus: str = ""
    """As in `Job`."""


class Target(Protocol):
    """A place that runs jobs."""

    def check(self, gpus: str) -> None:
        """Look whether jobs can be given these GPUs, as far as that can be known before there is one.

        Raises:
            InputError: there are no such GPUs.
        """

    def run(self, job: Job, started: Callable[[int], None], follow: Callable[[bytes], None] | None) -> Outcome:
        """Run `job` to its end; `follow` receives the log as it grows.

        `started` is told the process id of the job's first process on this machine; 0 where it runs elsewhere.

        Raises:
            SandboxError, EngineError: the job could not be started.
            InputError: there are no such GPUs.
        """

    def interact(self, session: Session, reporter: Reporter) -> int:
        """Run `session` with the caller's standard input, output and error; return its exit code.

        Raises:
            SandboxError, EngineError: it could not be started.
            InputError: there are no such GPUs.
        """


def find_target(name: str, settings: Settings) -> Target:
    """The target `name`: `local`, `docker`, or one of `[targets.NAME]`.

    Raises:
        NotFound: there is none; the message lists the known ones.
        SettingsError: its settings cannot be right.
    """
    table, kind = settings.targets.get(name, {"type": name}), kind_of(name, settings)
    if name not in settings.targets and name not in _KINDS:
        known = sorted({*_KINDS, *settings.targets})
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise NotFound(f"no target is called {name!r}; {hint}")
    if kind == "docker":
        from .docker import Docker, read_docker_settings

        return Docker(read_docker_settings(name, table), settings.home, gpu_specifications(name, settings))
    if kind == "local":
        from .local import Local

        refuse_unknown(name, table, _LOCAL)
        return Local(settings, gpu_specifications(name, settings))
    raise SettingsError(f"[targets.{name}] type = {kind!r} is no kind of target; known: {', '.join(_KINDS)}")


def refuse_unknown(name: str, table: Mapping[str, object], known: Sequence[str]) -> None:
    """Raise SettingsError for a setting of the target `name` that is not `known`."""
    for key in table:
        if key not in ("type", *known):
            raise SettingsError(f"[targets.{name}] has no setting {key!r}; known: {', '.join(known)}")


def gpu_specifications(name: str, settings: Settings) -> Sequence[Path]:
    """The folders in which the target `name` looks for CDI specifications of GPUs.

    Raises:
        SettingsError: `cdi-spec-dirs` is no list of folders.
    """
    folders = settings.targets.get(name, {}).get("cdi-spec-dirs")
    if folders is None:
        return FOLDERS
    if not isinstance(folders, list) or not all(isinstance(each, str) and each.startswith("/") for each in folders):
        raise SettingsError(f'targets.{name}.cdi-spec-dirs must be a list of absolute paths, such as ["/etc/cdi"]')
    return [Path(each) for each in folders]


def known_targets(settings: Settings) -> dict[str, str]:
    """The name of every target that there is, and its type."""
    return {name: str(kind_of(name, settings)) for name in (*_KINDS, *settings.targets)}


def kind_of(name: str, settings: Settings) -> object:
    """The type of the target `name`, as its table says it; a table without one is of the type that it is called."""
    return settings.targets.get(name, {}).get("type", name if name in _KINDS else None)


def shm_size(name: str, settings: Settings) -> int:
    """Bytes of /dev/shm that jobs on the target `name` get when nothing else is asked for.

    Raises:
        SettingsError: `shm-size` is not a size.
    """
    return parse_size(settings.targets.get(name, {}).get("shm-size", "2GiB"), f"targets.{name}.shm-size")
