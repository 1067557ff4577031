"""A control script written for `azureml.core` in, its exit code out: it runs in this process, unedited."""

import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from envbuild.errors import EnvbuildError, InputError

from .finder import serve


def run_script(script: Path, arguments: Sequence[str]) -> int:
    """Run `script` as `python SCRIPT` would, with our modules of the SDK's names; return its exit code.

    Raises:
        InputError: there is no such script.
        EnvbuildError: something that the script asked for failed or is not known here.
    """
    if not script.is_file():
        raise InputError(f"{script} is not a file; name the control script")
    serve()
    sys.argv = [str(script), *arguments]
    sys.path[0:0] = [str(script.absolute().parent)]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except EnvbuildError:
        raise
    except SystemExit as end:
        return _exit_code(end)
    except KeyboardInterrupt:
        if not _say_what_goes_on():
            raise
        return 130
    except Exception as error:
        _print(error, script)
        return 1
    return 0


def _say_what_goes_on() -> bool:
    """Name the runs that the script has submitted and that have not ended; whether there are any."""
    from .experiment import submitted

    going = [run.id for run in submitted if not run.record.is_final]
    for run in going:
        sys.stderr.write(f"the run {run} goes on; to end it: envbuild runs cancel {run}\n")
    return bool(going)


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    sys.stderr.write(f"{end.code}\n")
    return 1


def _print(error: Exception, script: Path) -> None:
    """The traceback as Python prints it, from the script's own lines on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != str(script):
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames or error.__traceback__)
