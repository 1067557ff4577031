"""What bubblewrap says of a sandbox on its status descriptor, and signals to the command in it."""

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any


class SandboxStatus:
    """bubblewrap's status lines: the pid of the sandbox's first process, and the command's own exit code."""

    def __enter__(self) -> "SandboxStatus":
        self._reading, self.writing = os.pipe()
        self._seen: dict[str, Any] = {}
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        return self

    def begin(self) -> None:
        os.close(self.writing)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self._thread.ident is None:  # bubblewrap was never started
            os.close(self.writing)
            os.close(self._reading)
        else:
            self._thread.join(5)

    @property
    def exit_code(self) -> int | None:
        return self._seen.get("exit-code")

    def first_process(self) -> int | None:
        """The pid of the sandbox's first process; `None` when there never was one."""
        self._begun.wait()
        return self._seen.get("child-pid")

    def signal(self, number: int) -> bool:
        """Send a signal to the command, because bubblewrap forwards none; return whether there is one."""
        pids = self._command_pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return bool(pids)

    def _command_pids(self) -> list[int]:
        """The processes that the sandbox's first one started."""
        first = self._seen.get("child-pid")
        try:
            return [int(pid) for pid in Path(f"/proc/{first}/task/{first}/children").read_text().split()]
        except OSError:
            return []

    def _read(self) -> None:
        with open(self._reading, "rb") as lines:
            for line in lines:
                try:
                    self._seen.update(json.loads(line))
                except ValueError:
                    continue
                self._begun.set()
        self._begun.set()
