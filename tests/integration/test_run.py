"""`envbuild run`: real jobs in a real environment on the local target."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from harness import PATIENCE, Project, wait_for

SCRIPT = """\
import getpass, os, sys
import sibling
from azureml.core import Run as AzureRun
from envbuild import Run

run = Run.get_context()
for step in range(3):
    run.log("loss", 1.0 / (step + 1))
AzureRun.get_context().log("accuracy", float("nan"))
sys.stderr.write("to stderr\\n")
print("args", sys.argv[1:], "user", getpass.getuser(), "in", os.getcwd(), sibling.VALUE)
with open("outputs/result.txt", "w") as file:
    file.write("done")
os.makedirs("data")
sys.exit(int(os.environ.get("CODE", "0") if len(sys.argv) < 2 else sys.argv[1]))
"""


@pytest.fixture
def ready(registered: Project) -> Project:
    registered.write("src/train.py", SCRIPT)
    registered.write("src/sibling.py", "VALUE = 42\n")
    return registered


def test_a_run_is_recorded_whole(ready: Project) -> None:
    record = json.loads(ready.envbuild("run", "--json", "src", "train.py").stdout)
    folder = ready.home / "runs" / record["experiment"] / record["run_id"]
    assert (record["state"], record["exit_code"], record["experiment"]) == ("Completed", 0, "project")
    log = (folder / "70_driver_log.txt").read_text()
    assert "to stderr" in log and "args []" in log and "in /envbuild/code 42" in log
    assert (folder / "outputs/result.txt").read_text() == "done"
    assert (folder / "20_image_build_log.txt").is_file()
    metrics = ready.json("runs", "metrics", "last")["metrics"]
    assert [point["value"] for point in metrics["loss"]] == [1.0, 0.5, 1.0 / 3]
    assert metrics["accuracy"][0]["value"] == "NaN"
    assert not (ready.folder / "src/data").exists()  # the job has a copy


def test_the_job_s_exit_code_fails_the_run(ready: Project) -> None:
    done = ready.envbuild("run", "src", "train.py", "7")
    assert done.returncode == 1
    assert ready.json("runs", "show", "last")["exit_code"] == 7
    assert ready.json("runs", "show", "last")["state"] == "Failed"


def test_the_log_is_byte_exact(ready: Project) -> None:
    ready.write("src/bytes.py", "import sys\nsys.stdout.buffer.write(bytes(range(256)) * 3)\n")
    ready.envbuild("run", "--json", "src", "bytes.py")
    record = ready.json("runs", "show", "last")
    log = ready.home / "runs" / record["experiment"] / record["run_id"] / "70_driver_log.txt"
    assert log.read_bytes() == bytes(range(256)) * 3


def test_mounts_are_read_only_and_named_in_arguments(ready: Project) -> None:
    ready.write("numbers/values.txt", "1 2 3")
    ready.write(
        "src/read.py",
        "import sys\nprint(open(sys.argv[1] + '/values.txt').read())\ntry:\n    open(sys.argv[1] + '/new', 'w')\n"
        "except OSError as error:\n    print('refused', error.errno)\n",
    )
    done = ready.envbuild("run", "--mount", "numbers=numbers", "src", "read.py", "{numbers}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 2 3\nrefused 30\n"


def test_without_network_only_loopback_is_there(ready: Project) -> None:
    ready.write("src/net.py", "import socket\nprint([name for _, name in socket.if_nameindex()])\n")
    assert ready.envbuild("run", "--no-network", "src", "net.py").stdout == "['lo']\n"


def test_limits_hold(ready: Project) -> None:
    ready.write(
        "src/limits.py",
        "import os\nshm = os.statvfs('/dev/shm')\nprint(len(os.sched_getaffinity(0)), shm.f_blocks * shm.f_frsize)\n"
        "try:\n    bytearray(600 << 20)\nexcept MemoryError:\n    print('no more memory')\n",
    )
    done = ready.envbuild("run", "--cpus", "1", "--memory", "256MiB", "--shm-size", "64MiB", "src", "limits.py")
    assert done.stdout == f"1 {64 << 20}\nno more memory\n"


def test_bad_requests_are_sentences_and_leave_no_record(ready: Project) -> None:
    ready.write("src/.env", "TOKEN=1")
    toml = (ready.folder / "envbuild.toml").read_text()
    ready.write("envbuild.toml", f'{toml}[targets.plain]\ntype = "local"\ncdi-spec-dirs = ["/nonexistent"]\n')
    for line, sentence in (
        (("run", "--target", "plain", "--gpus", "1", "src", "train.py"), "no GPU is described on this machine"),
        (("run", "src", "trian.py"), "did you mean train.py?"),
        (("run", "nowhere", "train.py"), "is not a folder"),
        (("run", "--env", "smal", "src", "train.py"), "did you mean small?"),
        (("run", "--target", "locla", "src", "train.py"), "did you mean local?"),
        (("run", "--mount", "data=absent", "src", "train.py"), "does not exist"),
        (("run", "--experiment", "no/way", "src", "train.py"), "cannot name an experiment"),
        (("run", "src", "train.py", "{data}"), "names the mount 'data'"),
        (("run", "src", "../environment.yml"), "is not inside src"),
    ):
        done = ready.envbuild(*line)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert sentence in done.stderr
    assert ready.json("runs", "list") == []


def test_a_snapshot_that_is_too_big_names_the_culprit(ready: Project) -> None:
    (ready.folder / "src/data").mkdir()
    (ready.folder / "src/data/big.bin").write_bytes(bytes(3 << 20))
    done = ready.envbuild("run", "src", "train.py", env={"ENVBUILD_SNAPSHOT_MAX_SIZE": "1MiB"})
    assert done.returncode == 2
    assert "Your total snapshot size exceeds the limit" in done.stderr
    assert "3.0 MiB       1 files  data/" in done.stderr
    assert "echo '/data/' >> src/.envbuildignore" in done.stderr


def in_container(marker: str) -> list[int]:
    """Processes of this machine whose command line holds `marker`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and marker.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_ctrl_c_reaches_the_job_and_is_recorded(ready: Project) -> None:
    ready.write(
        "src/wait.py",
        "import time\nprint('ready', flush=True)\n"
        "try:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    print('stopped well')\n",
    )
    job = ready.start("run", "src", "wait.py")
    assert job.stdout is not None and job.stdout.readline() == "ready\n"
    job.send_signal(signal.SIGINT)
    stdout, stderr = job.communicate(timeout=PATIENCE)
    assert (job.returncode, stdout) == (130, "stopped well\n"), stderr
    assert "nothing is half done" not in stderr  # the job's record says how it ended
    assert ready.json("runs", "show", "last")["state"] == "Canceled"


def test_killing_us_leaves_no_orphan_and_the_run_is_lost(ready: Project) -> None:
    marker = f"marker-{os.getpid()}-{time.time_ns()}"
    ready.write("src/wait.py", "import time\nprint('ready', flush=True)\ntime.sleep(600)\n")
    job = ready.start("run", "src", "wait.py", marker)
    assert job.stdout is not None and job.stdout.readline() == "ready\n"
    assert in_container(marker)
    job.kill()
    job.communicate()
    wait_for(lambda: in_container(marker) == [])
    assert ready.json("runs", "show", "last")["state"] == "Lost"


def test_no_bubblewrap_is_said_and_nothing_runs_without(ready: Project) -> None:
    done = ready.envbuild("run", "src", "train.py", env={"ENVBUILD_BUILD_BWRAP": "/bin/false"})
    assert done.returncode == 1
    assert "no usable bubblewrap" in done.stderr
    assert "args" not in done.stdout
    assert ready.envbuild("doctor", env={"ENVBUILD_BUILD_BWRAP": "/bin/false"}).returncode == 1
