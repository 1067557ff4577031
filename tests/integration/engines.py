"""Container engines of the tests' own: a dockerd and a Podman service, each in a folder, stopped by its own pid."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from harness import PATIENCE, need

from envbuild.trainer.supervision import process_start

BOUND = 3000
"""Seconds after which a daemon ends by itself, should nobody stop it."""


@dataclass(frozen=True)
class Daemon:
    """A running engine."""

    name: str
    host: str
    log: Path

    @property
    def env(self) -> dict[str, str]:
        """What makes every client talk to it, and read no configuration of this machine."""
        return {"DOCKER_HOST": self.host, "DOCKER_CONFIG": "/nonexistent"}


@contextmanager
def dockerd(folder: Path, data: Path | None = None) -> Iterator[Daemon]:
    """A Docker Engine below `folder`, shared by every test process that asks for it; the last one stops it."""
    program, path = need("dockerd"), folder / "docker.sock"
    line = [program, "--iptables=false", "--bridge=none", "--data-root", data or folder / "data"]
    line += ["--exec-root", folder / "exec", "-H", f"unix://{path}", "-p", folder / "pid"]
    with _shared(folder, "docker", line, path) as daemon:
        yield daemon


@contextmanager
def podman(folder: Path) -> Iterator[Daemon]:
    """Podman's API service below `folder`; crun refuses hybrid cgroups, so runc is what it runs."""
    program, path = need("podman"), folder / "podman.sock"
    need("runc")
    need("catatonit")
    line = [program, "--runtime", "runc", "--root", folder / "data", "--runroot", folder / "run"]
    line += ["--tmpdir", folder / "tmp", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
    line += ["system", "service", "--time", "0", f"unix://{path}"]
    with _shared(folder, "podman", line, path) as daemon:
        yield daemon


@contextmanager
def _shared(folder: Path, name: str, line: Sequence[str | Path], path: Path) -> Iterator[Daemon]:
    if os.geteuid() != 0:
        pytest.skip(f"{name} is started as root only")
    folder.mkdir(parents=True, exist_ok=True)
    daemon = Daemon(name, f"unix://{path}", folder / "log")
    state = folder / "users.json"
    with FileLock(folder / "lock"):
        users, pid = json.loads(state.read_text()) if state.exists() else (0, 0)
        if not users:
            pid = _start(daemon, line, path)
        state.write_text(json.dumps([users + 1, pid]))
    try:
        yield daemon
    finally:
        with FileLock(folder / "lock"):
            users, pid = json.loads(state.read_text())
            state.write_text(json.dumps([users - 1, pid]))
            if users == 1:
                _stop(pid, folder)


def _start(daemon: Daemon, line: Sequence[str | Path], path: Path) -> int:
    with daemon.log.open("ab") as log:
        process = subprocess.Popen(
            ["timeout", "--kill-after=30", str(BOUND), *map(str, line)],
            cwd=daemon.log.parent,  # Podman's conmon leaves an empty file called oom where it was started
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + PATIENCE
    while not _answers(path):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"{daemon.name} did not start:\n{daemon.log.read_text()[-3000:]}")
        time.sleep(0.1)
    return process.pid


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(path))
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
            return b" 200 " in connection.recv(100)
    except OSError:
        return False


def _stop(pid: int, folder: Path) -> None:
    """TERM to `timeout`, which passes it on; then the images go, which are large."""
    os.kill(pid, 15)
    deadline = time.monotonic() + PATIENCE
    while process_start(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in reversed([each for each in mounts if each.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", place], check=False)
    for name in ("data", "exec", "run", "tmp"):
        shutil.rmtree(folder / name, ignore_errors=True)
