"""A project folder and the real command line started in it."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

PATIENCE = 600
"""Seconds until a test gives up on what must come; only keeps a broken one from hanging, on a machine that does much
else."""


@dataclass(frozen=True)
class Project:
    """A project folder with a home of its own, and the command line started in it."""

    folder: Path
    home: Path
    before: Sequence[str] = ()
    """What starts the command line: a command that takes another one."""

    def envbuild(self, *line: str | Path, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """Run `envbuild` to its end."""
        return subprocess.run(
            [*self.before, sys.executable, "-m", "envbuild", *map(str, line)],
            cwd=self.folder,
            env={**os.environ, "ENVBUILD_HOME": str(self.home), **(env or {})},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def json(self, *line: str | Path, env: Mapping[str, str] | None = None) -> Any:
        """Run `envbuild ... --json`, which must succeed, and return its document."""
        done = self.envbuild(*line, "--json", env=env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self, *line: str | Path, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start `envbuild` and return at once."""
        return subprocess.Popen(
            [*self.before, sys.executable, "-m", "envbuild", *map(str, line)],
            cwd=self.folder,
            env={**os.environ, "ENVBUILD_HOME": str(self.home), **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@contextmanager
def started(
    project: Project, *line: str | Path, env: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """The command line in the background; killed at the end if it still runs."""
    process = project.start(*line, env=env)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def copy_home(home: Path, copy: Path) -> None:
    """A home of the test's own with the content of `home`.

    Files are hard links: a test that changes one in place (and not by renaming another over it) changes it for all.
    What envbuild itself locks or changes in place is not shared: locks, the key cache, histories.
    """
    subprocess.run(["cp", "-a", "--link", home, copy], check=True)
    for folder in (*copy.glob("*/.locks"), *copy.glob("*/*/.locks"), copy / "cache/keys"):
        shutil.rmtree(folder, ignore_errors=True)
    for file in copy.glob("environments/*/*.json*"):
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)


def copy_pins(home: Path, other: Path) -> None:
    """The pins of bases that `base update` made in `home`, since the mirror has dropped a version, for another home."""
    for pins in (home / "bases").glob("*/*/pins.toml"):
        copy = other / pins.relative_to(home)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pins, copy)


def wait_for(condition: Callable[[], bool], pause: float = 0.05) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(pause)


def need(program: str) -> str:
    """The path of `program`, or skip; with CI=true as root nothing may be missing."""
    path = shutil.which(program)
    if path is None:
        _missing(program)
    return path


def need_library(name: str) -> None:
    """Skip where the system has no such shared library; with CI=true as root nothing may be missing."""
    try:
        ctypes.CDLL(name)
    except OSError:
        _missing(name)


def _missing(name: str) -> NoReturn:
    reason = f"{name} is not installed (.ci/debian-packages installs it as root)"
    if os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(reason)
    pytest.skip(reason)
