"""`20_image_build_log.txt`: one line per event, with the time and the stage in front; kept for failed builds too."""

import fcntl
import time
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from . import interruption
from .report import Reporter, Task

FILE_NAME = "20_image_build_log.txt"


class BuildLog:
    """A reporter that writes to a file and passes on to another; also measures the stages.

    Lines reach the file at once, so that the log can be followed and a killed build leaves all of it. Names of files
    may be any bytes, and so may what is told of them.
    """

    def __init__(self, path: Path, reporter: Reporter) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.seconds: dict[str, float] = {}
        """Stage -> seconds, in the order in which the stages ended."""
        self._reporter = reporter
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace", buffering=1)
        fcntl.flock(self._file, fcntl.LOCK_EX)  # the kernel drops it with the process: see is_being_written

    def say(self, text: str) -> None:
        self._write("note", text)
        self._reporter.say(text)

    def log(self, stage: str, text: str) -> None:
        self._write(stage, text)
        self._reporter.log(stage, text)

    def _write(self, stage: str, text: str) -> None:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        for line in text.splitlines() or [""]:
            self._file.write(f"{now}Z {stage:<8} {line}\n")

    def task(self, stage: str, total: int | None, unit: str = "B") -> AbstractContextManager[Task]:
        return self._reporter.task(stage, total, unit)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Measure the block as the stage `name`, and log its end or its error."""
        return _Stage(self, name)

    def close(self) -> None:
        self._file.close()


def is_being_written(path: Path) -> bool:
    """Whether the build whose log this is goes on: its process holds the log's lock, also in another pid namespace."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class _Stage(AbstractContextManager[None]):
    def __init__(self, log: BuildLog, name: str) -> None:
        self._log = log
        self._name = name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._start
        self._log.seconds[self._name] = round(seconds, 3)
        if error is None:
            self._log.log(self._name, f"done in {seconds:.2f} s")
            interruption.check()
        else:
            self._log.log(self._name, f"FAILED after {seconds:.2f} s: {str(error) or type(error).__name__}")
