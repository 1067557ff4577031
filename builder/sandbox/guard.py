"""A process of its own around bubblewrap: nothing of a sandbox outlives whoever asked for it, whenever that one dies.

    python -I -S guard.py PARENT MEMORY PROCESSORS bwrap ...

`--die-with-parent` is not enough: bubblewrap's outer process asks the kernel for it only after it has begun the inner
one, and the inner one only after all mounts are made. Whoever is killed before that leaves a job that nobody knows of.
The guard asks first, while there is nothing to leave behind, and is made the parent of whatever loses its own
(prctl(2): PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER). SIGTERM, which also says that PARENT has died, ends the sandbox;
otherwise the guard ends as bubblewrap did. MEMORY (bytes, 0 for any) and PROCESSORS (numbers with commas, none for
any) are limits for the sandbox. Standard library only: nothing else is imported on the way to a job.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_NOT_STARTED = 127


def main(arguments: Sequence[str]) -> None:
    """Guard the sandbox of the command line `arguments`."""
    parent, memory, processors, *line = arguments
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, which is inherited, nobody hears of an end
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it died before the kernel was asked
        return
    guard = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _become(line, int(memory), [int(each) for each in processors.split(",") if each], guard, mask)
        except (OSError, ValueError) as error:
            os.write(2, f"{line[0]}: {getattr(error, 'strerror', None) or error}\n".encode())
        finally:
            os._exit(_NOT_STARTED)
    status = _wait(pid)
    _end_the_rest()
    _end_as(os.waitstatus_to_exitcode(status))


def _become(
    line: Sequence[str], memory: int, processors: Sequence[int], guard: int, mask: set[int | signal.Signals]
) -> NoReturn:
    """Turn this fork into bubblewrap, with the signals as the guard found them."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(_NOT_STARTED)
    if memory:  # RLIMIT_AS would count address space, of which torch reserves plenty
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    if processors:
        os.sched_setaffinity(0, processors)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and that would be inherited
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.execv(line[0], list(line))


def _wait(bubblewrap: int) -> int:
    """Wait for bubblewrap to end, or end it when that is asked for; return its wait status."""
    while True:
        if signal.sigwait({signal.SIGCHLD, signal.SIGTERM}) == signal.SIGTERM:
            os.kill(bubblewrap, signal.SIGKILL)
        while True:  # several children can be behind one SIGCHLD
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == bubblewrap:
                return status
            if pid == 0:
                break


def _end_the_rest() -> None:
    """Kill and reap what bubblewrap has left: with the sandbox's first process the kernel ends all others in it."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
            for pid in _children():
                os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    """The processes whose parent is this one."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                after_name = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        if int(after_name[1]) == os.getpid():
            found.append(int(entry))
    return found


def _end_as(code: int) -> NoReturn:
    """End with the exit code `code`, or of the signal `-code`, so that our parent sees what we saw."""
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the core of interest is bubblewrap's
        os.kill(os.getpid(), -code)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
    os._exit(code)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    main(sys.argv[1:])
