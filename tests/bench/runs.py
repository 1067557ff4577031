"""How long 10,000 runs take to be listed: with no index, with it, after one change, and by the command as a whole.

make bench-runs        (or: python tests/bench/runs.py NUMBER)
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from envbuild.trainer.index import FILE_NAME
from envbuild.trainer.run import list_runs, update_run

EXPERIMENTS = 20
TURNS = 5


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory(prefix="envbuild-bench-") as folder:
        home = Path(folder)
        for position in range(number):
            write_run(home, position)
        size = sum(file.stat().st_size for file in home.glob("runs/*/*/run.json"))
        print(f"{number} runs in {EXPERIMENTS} experiments, {size / number:.0f} bytes a record")
        index = home / "runs" / FILE_NAME
        report("list_runs, no index", best(lambda: list_runs(home), before=lambda: index.unlink(missing_ok=True)))
        report("list_runs, index", best(lambda: list_runs(home)))
        newest = list_runs(home)[0]
        report("list_runs, one changed", best(lambda: list_runs(home), before=lambda: update_run(newest, seen=1)))
        report("envbuild runs list", best(lambda: command(home, "runs", "list")))
        report("envbuild runs show last", best(lambda: command(home, "runs", "show", "last")))
        report("envbuild --help", best(lambda: command(home, "--help")))


def write_run(home: Path, position: int) -> None:
    """A record as `envbuild run` writes it."""
    run_id = f"20261124-{position // 3600 % 24:02}{position // 60 % 60:02}{position % 60:02}-{position:08x}"
    document = {
        "run_id": run_id,
        "experiment": f"experiment-{position % EXPERIMENTS}",
        "state": ("Completed", "Failed", "Canceled")[position % 3],
        "created": "2026-11-24T16:00:00Z",
        "started": "2026-11-24T16:00:01Z",
        "ended": "2026-11-24T16:10:01Z",
        "exit_code": position % 3,
        "script": "train.py",
        "arguments": ["--lr", str(position / 1000), "--epochs", "10", "--data", "{data}"],
        "parameters": {"lr": position / 1000, "epochs": 10, "data": "{data}"},
        "command": ["/opt/env/bin/python", "train.py", "--lr", str(position / 1000), "--epochs", "10"],
        "environment": {"name": "pytorch-env", "version": 1, "image_digest": f"sha256:{position:064x}"},
        "snapshot": {"id": f"{position:064x}", "files": 12, "size": 34567},
        "source": "/home/somebody/projects/cifar10/src",
        "mounts": {"data": "/home/somebody/projects/cifar10/data"},
        "target": "local",
        "network": True,
        "limits": {"cpus": None, "memory": None, "shm_size": 2 << 30, "timeout": None},
        "tags": {"model": f"resnet-{position % 7}", "team": "vision"},
        "git": {"commit": f"{position:040x}", "branch": "main", "dirty": False, "diff_complete": True},
        "host": "somewhere",
        "process": {"pid": 1234, "start": "5678"},
        "seconds": {"prepare": 0.123, "run": 600.123},
        "resources": {"cpu_seconds": 1234.5, "peak_memory": 1 << 30},
    }
    folder = home / "runs" / str(document["experiment"]) / run_id
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(document, indent=1, sort_keys=True))


def command(home: Path, *line: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "envbuild", *line],
        env={**os.environ, "ENVBUILD_HOME": str(home)}, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip


def best(action: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    seconds = []
    for _ in range(TURNS):
        before()
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def report(what: str, seconds: float) -> None:
    print(f"{what:<26} {seconds:6.3f} s")


if __name__ == "__main__":
    main()
