"""The Docker target: the job in a container of Docker Engine, or of Podman through the same API.

The image is loaded when the engine lacks it. The job's output comes over an attached connection that is opened before
the job starts, so none of it is missed or kept twice. Where the image has a shell, that begins the job: it joins the
two streams, so their order is the job's own, and leaves a watcher that ends the job with its supervisor. The container
that is left then, ended, is known by its labels and removed before the next job starts.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from envbuild.builder.publish.docker import load_image
from envbuild.builder.publish.engine import Engine, engine_errors, find_engine
from envbuild.builder.report import Reporter
from envbuild.builder.sandbox.command import Mount
from envbuild.builder.store import Store
from envbuild.errors import EngineError, SettingsError

from . import SESSION_FOLDER, Job, Outcome, Session, refuse_unknown
from .container import common_options, new_container, remove_stale
from .frames import frames
from .gpus import FOLDERS
from .races import ask_again
from .signals import cancel_signals

if TYPE_CHECKING:
    from docker.models.containers import Container

_POLL = 0.05
"""Seconds between two looks for a signal."""
_DRAIN = 30.0
"""Seconds in which the last output of an ended job arrives."""
_BEGIN = """\
exec 3<&0 </dev/null 2>&1
( { trap '' HUP INT TERM; while read -r line; do :; done; kill -KILL $$; } <&3 >/dev/null & )
exec 3<&- "$0" "$@"
"""
"""Begins the job, in any POSIX shell, with empty input and joined output, and with a watcher beside it.

Standard input is the supervisor's connection: when that breaks off the engine closes the input (StdinOnce), and the
watcher, which reads it to the end, kills the job. The init process ends with the job, and all others with that. The
watcher is no child of the job, which may wait for all that it has, and ignores what the job sends to its own group.
"""
_TEXTS = ("host", "user", "gpus", "network", "shm-size")
_OTHERS = ("cdi-spec-dirs",)
"""Read and checked by `gpu_specifications`."""


@dataclass(frozen=True)
class DockerSettings:
    """`[targets.NAME]` of type `docker`."""

    host: str = ""
    """The engine's address; empty for DOCKER_HOST, the current context, or the usual sockets."""
    user: str = ""
    """`UID:GID` of the job; empty for the caller's own, so that what it writes belongs to the caller."""
    gpus: str = ""
    """What jobs get that ask for none."""
    network: str = "bridge"
    """The network of jobs that may use one, as the engine calls it."""


def read_docker_settings(name: str, table: Mapping[str, Any]) -> DockerSettings:
    """The settings of the target `name`.

    Raises:
        SettingsError: one is unknown, or is no text.
    """
    refuse_unknown(name, table, (*_TEXTS, *_OTHERS))
    for key, value in table.items():
        if key not in _OTHERS and not isinstance(value, str):
            raise SettingsError(f"targets.{name}.{key} must be text, not {value!r}")
    return DockerSettings(**{key: table[key] for key in _TEXTS if key in table and key != "shm-size"})


class Docker:
    """Runs jobs in containers."""

    def __init__(self, settings: DockerSettings, home: Path, specifications: Sequence[Path] = FOLDERS) -> None:
        self._settings = settings
        self._store = Store(home)
        self._specifications = specifications

    def check(self, gpus: str) -> None:
        """An engine says so itself when it starts a container."""

    def run(self, job: Job, started: Callable[[int], None], follow: Callable[[bytes], None] | None) -> Outcome:
        if job.image is None:
            raise EngineError("the job names no image; this target runs images only")
        engine = find_engine(self._settings.host)
        with engine_errors(engine, "look for what earlier runs left"):
            remove_stale(engine)
        image = load_image(job.image, job.image_name, self._store, engine, job.reporter)
        with new_container(engine, self._options(job, image.image_id, engine)) as container:
            return _supervise(engine, container, job, started, follow)

    def interact(self, session: Session, reporter: Reporter) -> int:
        from .docker_interactive import run_in_container

        engine = find_engine(self._settings.host)
        with engine_errors(engine, "look for what earlier runs left"):
            remove_stale(engine)
        image = load_image(session.image, session.image_name, self._store, engine, reporter)
        options = common_options(
            engine, image=image.image_id, env=session.env, cwd=SESSION_FOLDER, user=self._settings.user,
            network=self._settings.network if session.network else "none",
            mounts=[Mount(session.folder, SESSION_FOLDER, writable=True)], shm_size=session.shm_size,
            gpus=session.gpus or self._settings.gpus, specifications=self._specifications,
        )  # fmt: skip
        return run_in_container(engine, {**options, "entrypoint": session.argv[:1], "command": session.argv[1:]})

    def _options(self, job: Job, image: str, engine: Engine) -> dict[str, Any]:
        """The container, as the SDK's `containers.create` takes it."""
        argv = list(job.argv)
        watched = any((tree / "usr/bin/sh").exists() for tree in job.root.trees)
        if watched:
            argv = ["/bin/sh", "-c", _BEGIN, *argv]
        return {
            **common_options(
                engine, image=image, env=job.env, cwd=job.cwd, user=self._settings.user,
                network=self._settings.network if job.network else "none", mounts=job.mounts, shm_size=job.shm_size,
                gpus=job.gpus or self._settings.gpus, specifications=self._specifications, run_id=job.run_id,
            ),
            "entrypoint": argv[:1],
            "command": argv[1:],
            "stdin_open": watched,
            **({"cpuset_cpus": _processors(job.cpus)} if job.cpus else {}),
            **({"mem_limit": job.memory, "memswap_limit": job.memory} if job.memory else {}),
        }  # fmt: skip


def _supervise(
    engine: Engine, container: "Container", job: Job, started: Callable[[int], None],
    follow: Callable[[bytes], None] | None,
) -> Outcome:  # fmt: skip
    asked: list[int] = []

    def ask(number: int, _: FrameType | None) -> None:
        asked.append(number)

    with cancel_signals(ask):
        with engine_errors(engine, "start the job"):
            connection = engine.client.api.attach_socket(
                str(container.id), params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            )
            output = _Output(connection, job.log, follow)
            container.start()
        output.start()
        with engine_errors(engine, "say which process the job is"):
            pid = _pid_here(container)
        started(pid)
        canceled = _wait(engine, container, job, output, asked)
    with engine_errors(engine, "say how the job ended"):
        code = int(ask_again(container.wait)["StatusCode"])
        ask_again(container.reload)
    killed = bool(container.attrs["State"].get("OOMKilled"))
    return Outcome(code, canceled, "" if canceled else _memory_reason(job, code, killed))


def _memory_reason(job: Job, code: int, killed: bool) -> str:
    """Whether memory ran out; Podman does not say so of a process below the container's first one."""
    limit = f"the {job.memory} bytes that it may have" if job.memory else "this machine has"
    if killed:
        return f"the job wanted more memory than {limit} and was killed"
    if job.memory and code == 128 + signal.SIGKILL:
        return f"the job was killed, most likely because it wanted more memory than {limit}"
    return ""


def _wait(engine: Engine, container: "Container", job: Job, output: "_Output", asked: list[int]) -> bool:
    """Wait until the output ends, pass signals on; return whether the job was asked to stop."""
    passed, kill_at = 0, float("inf")
    while not output.ended.wait(_POLL):
        while passed < len(asked):
            _signal(engine, container, asked[passed])
            kill_at = min(kill_at, time.monotonic() + job.grace())
            passed += 1
        if time.monotonic() > kill_at:
            _signal(engine, container, signal.SIGKILL)
            kill_at = time.monotonic() + _DRAIN
    output.finish()
    return bool(asked)


def _signal(engine: Engine, container: "Container", number: int) -> None:
    from docker.errors import APIError

    with engine_errors(engine, "stop the job"):
        try:
            ask_again(lambda: container.kill(signal.Signals(number).name))
        except APIError as error:
            if error.status_code not in (404, 409):  # it has just ended
                raise


class _Output:
    """Copies what arrives on an attached connection into the log, and to whoever follows."""

    def __init__(self, connection: Any, log: Path, follow: Callable[[bytes], None] | None) -> None:
        self._connection: socket.socket = getattr(connection, "_sock", connection)
        self._connection.settimeout(None)  # a job may say nothing for hours
        self._keep = connection  # when this object goes, it closes the socket below it
        self._log = log
        self._follow = follow
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self.ended = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Wait for the last byte.

        Raises:
            BaseException: what the follower raised, or why the log could not be written.
        """
        self._thread.join(_DRAIN)
        with suppress(OSError):  # the engine has closed it; what nobody reads here must not keep it waiting
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        if self._error is not None:
            raise self._error

    def _copy(self) -> None:
        try:
            with self._log.open("ab", buffering=0) as log:
                for _, piece in frames(self._connection):
                    log.write(piece)
                    if self._follow:
                        self._follow(piece)
        except BaseException as error:
            self._error = error
        finally:
            self.ended.set()


def _processors(count: int) -> str:
    return ",".join(map(str, sorted(os.sched_getaffinity(0))[:count]))


def _pid_here(container: "Container") -> int:
    """The job's first process; 0 when it is none of this machine's (an engine elsewhere, or in a virtual machine)."""
    ask_again(container.reload)
    pid = int(container.attrs["State"].get("Pid") or 0)
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text() if pid else ""
    except OSError:
        return 0
    return pid if str(container.id) in groups else 0
