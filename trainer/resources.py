"""What a job uses: processor time, memory and GPUs of its process tree, sampled into `resources.jsonl`.

    {"t":1795453854.25,"cpu_seconds":12.5,"memory":734003200,"processes":3,"gpus":[{"index":0,"utilization":87,"memory":2147483648}]}

The job's processes live in a sandbox, and its first process reaps them: what wait4(2) tells us about our child says
nothing about them, so the tree is read from /proc. Processor time of processes that ended is in their parent's
counters. Memory is the proportional share (PSS) where it may be read, else the resident size.
"""

import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

_GPU_QUERY = ("--query-gpu=index,utilization.gpu,memory.used", "--format=csv,noheader,nounits")
_GPU_SECONDS = 10


class ResourceMeter:
    """Samples one process tree, and remembers the most it saw."""

    def __init__(self, pid: int, file: Path) -> None:
        self._pid = pid
        self._file = file
        self._smi = shutil.which("nvidia-smi")
        self._cpu_seconds = 0.0
        self._memory = 0
        self._gpu: dict[int, int] = {}

    def sample(self) -> None:
        """Look at the tree and write one line; does nothing once the job is gone."""
        import orjson

        seen = _look(self._pid)
        if seen is None:
            return
        cpu_seconds, memory, processes = seen
        # a process that was killed with its parent takes its time along: the sum must not fall for that
        self._cpu_seconds = max(self._cpu_seconds, cpu_seconds)
        self._memory = max(self._memory, memory)
        line: dict[str, Any] = {
            "t": round(time.time(), 3), "cpu_seconds": round(self._cpu_seconds, 2), "memory": memory,
            "processes": processes,
        }  # fmt: skip
        if self._smi:
            line["gpus"] = read_gpus(self._smi)
            for gpu in line["gpus"]:
                self._gpu[gpu["index"]] = max(self._gpu.get(gpu["index"], 0), gpu["memory"])
        with self._file.open("ab") as file:
            file.write(orjson.dumps(line) + b"\n")

    def summary(self) -> dict[str, Any]:
        """Processor seconds, and the most memory (bytes) of the tree and of each GPU; empty when nothing was seen."""
        if not self._cpu_seconds and not self._memory:
            return {}
        found: dict[str, Any] = {"cpu_seconds": round(self._cpu_seconds, 2), "peak_memory": self._memory}
        if self._gpu:
            found["peak_gpu_memory"] = {str(index): memory for index, memory in sorted(self._gpu.items())}
        return found


def read_gpus(smi: str) -> list[dict[str, int]]:
    """Each GPU's index, utilisation (percent) and memory in use (bytes), as `nvidia-smi` tells; empty when it fails."""
    try:
        done = subprocess.run([smi, *_GPU_QUERY], capture_output=True, text=True, check=True, timeout=_GPU_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in done.stdout.splitlines():
        index, utilization, memory = (part.strip() for part in [*line.split(","), "", ""][:3])
        if index.isdecimal():
            found.append(
                {
                    "index": int(index),
                    "utilization": int(utilization) if utilization.isdecimal() else 0,  # "[N/A]" on shared GPUs
                    "memory": (int(memory) if memory.isdecimal() else 0) << 20,
                }
            )
    return found


def _look(pid: int) -> tuple[float, int, int] | None:
    """Processor seconds, bytes and number of processes of the tree below `pid`; `None` when it is gone."""
    import psutil

    try:
        top = psutil.Process(pid)
        tree = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    cpu_seconds, memory, count = 0.0, 0, 0
    for process in tree:
        try:
            times = process.cpu_times()
            memory += _memory(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        cpu_seconds += times.user + times.system + times.children_user + times.children_system
        count += 1
    return (cpu_seconds, memory, count) if count else None


def _memory(process: "psutil.Process") -> int:
    import psutil

    try:
        return int(process.memory_full_info().pss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
