"""The `envbuild` command. Each command is one short file: parse, call, print."""

import io
import os
import sys


def main() -> None:
    """Run the command line; end the process with its exit code.

    0 done, 1 the build or job failed, 2 the input is wrong, 130 interrupted.
    """
    try:
        import signal

        ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # who ignores it, keeps that
        if ours:
            signal.signal(signal.SIGINT, _end)  # nothing has begun: half an import is nothing to clean up after
        from envbuild.builder import interruption

        from .app import run

        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        interruption.watch()
        _print_anything()
        code = run(sys.argv[1:])
        _give_up_output()
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is done, and what is left takes no time
    except KeyboardInterrupt:  # while a handler was changed, or a second one
        _end()
    if "rattler" in sys.modules:
        # the solver's threads may still be ending, and then a normal exit sometimes aborts the process
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _print_anything() -> None:
    """Let standard output take every name: what its encoding does not have is written as an escape.

    Python has no stream at all for one that the caller has closed: there is nothing to read then, and nobody reads.
    """
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _give_up_output() -> None:
    """Drop what standard output could not take, which was said: Python would try again as it ends, and exit 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _end(*_: object) -> None:
    """End here and now, as an interrupted command ends."""
    os.write(2, b"error: interrupted; nothing is half done, run the same command again to go on\n")
    os._exit(130)
