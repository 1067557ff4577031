"""The `envbuild` command. Each command is one short file: parse, call, print."""

import os
import sys


def main() -> None:
    """Run the command line; end the process with its exit code.

    0 done, 1 the build or job failed, 2 the input is wrong, 130 interrupted.
    """
    from .app import run

    code = run(sys.argv[1:])
    if "rattler" in sys.modules:
        # the solver's threads may still be ending, and then a normal exit sometimes aborts the process
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
