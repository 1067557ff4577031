"""`studio.json` in the home: where the studio is, for as long as it is up."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from envbuild.builder import atomic
from envbuild.trainer.portal import STUDIO_FILE
from envbuild.trainer.supervision import process_start


@contextmanager
def announce(home: Path, url: str) -> Iterator[None]:
    """Say that this process serves `home` at `url`, until the block ends.

    What a killed studio leaves names a process that is gone; the reader (`trainer.portal`) sees that.
    """
    file = home / STUDIO_FILE
    data = json.dumps({"url": url, "pid": os.getpid(), "start": process_start(os.getpid())}).encode()
    atomic.write_file(file, data)
    try:
        yield
    finally:
        with suppress(OSError):
            if file.read_bytes() == data:  # else a studio that began later has the file now
                file.unlink()
