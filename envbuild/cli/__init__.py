"""The `envbuild` command. Each command is one short file: parse, call, print."""

import sys


def main() -> None:
    """Run the command line; end the process with its exit code.

    0 done, 1 the build or job failed, 2 the input is wrong, 130 interrupted.
    """
    from .app import run

    sys.exit(run(sys.argv[1:]))
