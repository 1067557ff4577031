"""The process of a sandbox, as its caller sees it: ends with its caller, and is ended by `terminate`."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from envbuild.errors import SandboxError

from . import guard


def start(
    line: Sequence[str],
    argv: Sequence[str],
    status: int,
    *,
    memory: int | None = None,
    processors: Sequence[int] = (),
    **how: Any,
) -> "subprocess.Popen[bytes]":
    """Start `argv` in the sandbox of `line` (`command.command`).

    bubblewrap's status lines go to the descriptor `status`. `memory` (bytes) and `processors` limit what is in the
    sandbox; `how` is for `subprocess.Popen`. To end it: `terminate`, and not `kill`, which the guard could not see.

    Raises:
        SandboxError: the process could not be started.
    """
    guarding = [sys.executable, "-I", "-S", str(Path(guard.__file__).resolve()), str(os.getpid())]
    guarding += [str(memory or 0), ",".join(map(str, processors))]
    try:
        return subprocess.Popen(
            [*guarding, *line, "--json-status-fd", str(status), "--", *argv], pass_fds=[status], **how
        )
    except OSError as error:
        raise SandboxError(f"{line[0]} could not be started: {error.strerror or error}") from error
