"""What one unedited `run.log` costs in a real job, against a bare write(2) of the same bytes, in the same run.

    capture   run.log("loss", value), as a training script calls it
    write     os.write of a line of the same length, to a file beside it
    delay     from a value's time to when a reader of this machine has it, while the job runs
    read      one metric of 300 runs of 2,000 points each, read and sampled as a page with all of them needs it

The machine's speed drifts, so the two take turns inside one job and the medians' ratio counts; beside other work the
CPU's time says more than the clock's. Uses the example's environment: needs `make demo` to have run.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from envbuild.trainer.metrics import read_run
from envbuild.trainer.metrics.sampling import sample

ROOT = Path(__file__).resolve().parents[2]
DEMO_HOME = ROOT / ".demo" / "home"
ENVIRONMENT = "pytorch-env"
ROUNDS, CALLS, LIVE = 7, 50_000, 100
RUNS, POINTS, DRAWN = 300, 2_000, 500

THROUGHPUT = f"""
import json, os, time
from azureml.core import Run

run = Run.get_context()
line = b'{{"k":"loss","v":0.12345678901234,"s":12345,"t":1795453854.123456}}\\n'
beside = os.open("outputs/beside", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for _ in range({ROUNDS}):
    for clock in (time.perf_counter, time.process_time):
        begin = clock()
        for step in range({CALLS}):
            run.log("loss", step * 0.37)
        captured = clock()
        for step in range({CALLS}):
            os.write(beside, line)
        print(json.dumps([clock.__name__, captured - begin, clock() - captured]), flush=True)
"""

LIVENESS = f"""
import time
from envbuild import Run

for _ in range({LIVE}):
    time.sleep(0.02)
    Run.get_context().log("now", time.time())
"""


def main() -> None:
    if not (DEMO_HOME / "environments" / ENVIRONMENT).is_dir():
        sys.exit("the example environment is not there yet: make demo")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        (source / "throughput.py").write_text(THROUGHPUT)
        (source / "liveness.py").write_text(LIVENESS)
        rounds = [json.loads(line) for line in job(source, "throughput.py").splitlines()]
        for clock, name in (("perf_counter", "time"), ("process_time", "CPU")):
            columns = zip(*(each[1:] for each in rounds if each[0] == clock), strict=True)
            captured, written = (statistics.median(column) / CALLS * 1e6 for column in columns)
            print(
                f"{name:<8} capture {captured:.2f} us a call, {1e6 / captured:,.0f} a second; "
                f"write {written:.2f} us; ratio {captured / written:.1f}"
            )
        delays = sorted(watch(source, "liveness.py"))
        print(f"delay    median {statistics.median(delays) * 1e3:.1f} ms, longest of {LIVE} {delays[-1] * 1e3:.1f} ms")
        (source / "runs").mkdir()
        served, parsed = read(source / "runs")
        print(f"read     {served:.2f} s of CPU for {RUNS} runs of {POINTS:,} points; their JSON alone {parsed:.2f} s")


def read(folder: Path) -> tuple[float, float]:
    """Seconds of CPU to read and sample one metric of all runs, and to do no more than parse their lines."""
    for number in range(RUNS):
        (folder / str(number)).mkdir()
        values = (math.exp(-step / 500) + number / 1e3 for step in range(POINTS))
        lines = (
            f'{{"k":"loss","v":{value!r},"s":{step},"t":1795453854.{step:06}}}\n' for step, value in enumerate(values)
        )
        (folder / str(number) / "metrics.jsonl").write_text("".join(lines))
    begin = time.process_time()
    for number in range(RUNS):
        series = read_run(folder / str(number), only=["loss"]).main("loss")
        assert series is not None and len(series) == POINTS
        sample(series.values, DRAWN)
    served = time.process_time()
    for number in range(RUNS):
        for line in (folder / str(number) / "metrics.jsonl").read_bytes().splitlines():
            orjson.loads(line)
    return served - begin, time.process_time() - served


def job(source: Path, script: str, *options: str) -> str:
    """Run `script` in the example's environment; what it prints."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "envbuild",
            "run",
            "--env",
            ENVIRONMENT,
            "--experiment",
            "bench",
            *options,
            source,
            script,
        ],
        env={**os.environ, "ENVBUILD_HOME": str(DEMO_HOME)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def watch(source: Path, script: str) -> list[float]:
    """How long each value of a running job took to get here, in seconds; looked for every millisecond."""
    run = job(source, script, "--detach").strip()
    (folder,) = (DEMO_HOME / "runs" / "bench").glob(run)
    delays: list[float] = []
    cursor: dict[str, int] = {}
    deadline = time.monotonic() + 60
    while len(delays) < LIVE and time.monotonic() < deadline:
        found = read_run(folder, since=cursor)
        now, cursor = time.time(), found.cursor
        delays += [now - value for series in found.of("now") for value in series.values]
        time.sleep(0.001)
    return delays


if __name__ == "__main__":
    main()
