"""How long the studio's server works for a comparison, against a floor, in one run.

    ours    GET /compare/series of 300 runs with 2,000 points of one metric each: read, thinned by lowest and highest
            values and sent as JSON; cold (nothing read before), smoothed (read before), and after more was logged
    floor   reading the same 300 files and parsing every line with orjson: no reader of these files can do less
    list    GET /runs with 10,000 runs recorded, the second time (the index is there), and one filtered by a tag
    live    from the write of a value to its event at a client, the median and the worst of 50

Seconds are of the server's processor (all its threads): the machine's other work does not count. `live` is by the
clock.
"""

import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import orjson

from envbuild.trainer.run import RunRecord, create_run, update_run
from envbuild.trainer.supervision import process_start

RUNS, POINTS, MANY, ROUNDS = 300, 2_000, 10_000, 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        runs = [make_run(home, "compared", number) for number in range(RUNS)]
        for number in range(MANY - RUNS):
            make_run(home, "many", number, points=0)
        query = [("metric", "loss"), *(("run", f"compared/{run.run_id}") for run in runs)]
        cold, floors, smoothed, grown = [], [], [], []
        for _ in range(ROUNDS):
            with server(home) as (pid, connection):
                get(connection, "/builds")  # what the first answer of all costs is not asked here
                cold.append(seconds(pid, connection, "/compare/series", query))
                floors.append(floor(runs))
                smoothed.append(seconds(pid, connection, "/compare/series", [("smoothing", "0.9"), *query]))
                for run in runs:
                    write_points(run, POINTS, 10)
                grown.append(seconds(pid, connection, "/compare/series", query))
                get(connection, "/runs")
                listed = seconds(pid, connection, "/runs", [])
                filtered = seconds(pid, connection, "/runs", [("tag", "model=large")])
        say(f"{RUNS} runs x {POINTS} points", cold)
        say("the same, smoothed", smoothed)
        say("the same, 10 points later", grown)
        say("floor: read and parse", floors)
        print(f"ours / floor {statistics.median(cold) / statistics.median(floors):.2f}")
        print(f"{MANY} runs listed {listed:.2f} s, filtered {filtered:.2f} s of processor time")
        delays = live(home)
        print(f"a value at a client after {statistics.median(delays):.3f} s, at worst {max(delays):.3f} s")


def make_run(home: Path, experiment: str, number: int, points: int = POINTS) -> RunRecord:
    parameters = {"lr": random.choice([0.1, 0.01, 0.001]), "seed": number}
    document = {
        "script": "train.py",
        "arguments": [f"--lr={parameters['lr']}", f"--seed={number}"],
        "parameters": parameters,
        "environment": {"name": "bench", "version": 1},
        "process": {"pid": os.getpid(), "start": process_start(os.getpid())},
        "tags": {"model": random.choice(["small", "large"])},
    }
    run = create_run(home, experiment, document)
    write_points(run, 0, points)
    return update_run(run, state="Completed")


def write_points(run: RunRecord, begin: int, count: int) -> None:
    """As the writer in a job does."""
    with run.metrics_file.open("a") as file:
        for step in range(begin, begin + count):
            record = {"k": "loss", "v": 2.3 / (step + 1) + random.random(), "s": step, "t": 1795453854.25 + step}
            file.write(json.dumps(record, separators=(",", ":")) + "\n")


@contextmanager
def server(home: Path) -> Iterator[tuple[int, http.client.HTTPConnection]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "envbuild", "studio", "--port", "0", "--json"],
        env={**os.environ, "ENVBUILD_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        document = "".join(iter(process.stdout.readline, "}\n"))
        address = urlsplit(json.loads(document + "}")["url"])
        yield process.pid, http.client.HTTPConnection(str(address.hostname), address.port, timeout=300)
    finally:
        process.terminate()
        process.wait(30)


def get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body[:300]
    return body


def seconds(pid: int, connection: http.client.HTTPConnection, path: str, query: list[tuple[str, str]]) -> float:
    """Processor seconds that the server spent on one answer."""
    before = processor_seconds(pid)
    get(connection, f"{path}?{urlencode(query)}")
    return processor_seconds(pid) - before


def processor_seconds(pid: int) -> float:
    """utime and stime of proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def floor(runs: list[RunRecord]) -> float:
    begin = time.process_time()
    for run in runs:
        for line in run.metrics_file.read_bytes().splitlines():
            orjson.loads(line)
    return time.process_time() - begin


def live(home: Path) -> list[float]:
    """Seconds from a write to its event, by the clock."""
    run = make_run(home, "live", 0, points=1)
    run = update_run(run, state="Running")
    delays = []
    with server(home) as (_, connection):
        connection.request("GET", f"/runs/live/{run.run_id}/events?since=%7B%7D")
        stream = connection.getresponse()
        for step in range(50):
            time.sleep(random.random() * 0.3)
            begin = time.perf_counter()
            write_points(run, step + 1, 1)
            wanted = f'"steps":[{step + 1}]'.encode()
            while wanted not in stream.readline():
                pass
            delays.append(time.perf_counter() - begin)
        stream.close()
    return delays


def say(what: str, values: list[float]) -> None:
    shown = " ".join(f"{value:.2f}" for value in values)
    print(f"{what:<28} median {statistics.median(values):.2f} s   ({shown})")


if __name__ == "__main__":
    main()
