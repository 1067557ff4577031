"""A command in a sandbox, run to its end."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from envbuild.errors import SandboxError
from envbuild.settings import Settings

from .bubblewrap import find_bubblewrap, last_line
from .command import Mount, RootFilesystem, command, fits_overlay
from .merge import merged_folder
from .process import start


def run_in_sandbox(
    settings: Settings,
    root: RootFilesystem,
    argv: Sequence[str],
    *,
    scratch: Path,
    mounts: Sequence[Mount] = (),
    env: Mapping[str, str] | None = None,
    cwd: str = "/",
    network: bool = False,
    input: bytes | None = None,
    changes: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run `argv` to its end and capture its output; `scratch` keeps a merged folder where one is needed.

    `changes` catches what is written to the root (`command`).

    Raises:
        SandboxError: no sandbox works here, or the command could not be started in it.
    """
    bwrap = find_bubblewrap(settings)
    overlay = fits_overlay(bwrap, root)
    if changes and not overlay:
        raise SandboxError(f"catching what a command writes needs overlays, which {bwrap.path} cannot mount here")
    merged = None if overlay else merged_folder(root, scratch)
    line = command(bwrap, root, env=env or {}, mounts=mounts, cwd=cwd, network=network, merged=merged, changes=changes)
    reading, writing = os.pipe()
    with open(reading, "rb") as status:
        try:
            process = start(line, argv, writing, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        finally:
            os.close(writing)
        with process:
            try:
                stdout, stderr = process.communicate(input or b"")
            except BaseException:
                process.terminate()
                raise
        ended = exit_code(status.read())
    if ended is None and process.returncode >= 0:
        raise SandboxError(f"{argv[0]} could not be started in the sandbox: {last_line(stderr)}")
    return subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)


def exit_code(status: bytes) -> int | None:
    """What the command itself ended with, from bubblewrap's status lines; `None` when it never ran.

    bubblewrap's own exit code says both "could not start" and "the command returned 1"; only this line is proof.
    """
    for line in status.splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if "exit-code" in document:
            return int(document["exit-code"])
    return None
