"""The life of a run through the real command line: detached, followed, canceled, timed out, lost, run again."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness import PATIENCE, Project, need, wait_for

from envbuild.studio.announce import announce

WAIT = """\
import signal, sys, time
def stop(number, frame):
    print("asked to stop", flush=True)
    if "stubborn" not in sys.argv:
        sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
for _ in range(6000):
    time.sleep(0.1)
"""


@pytest.fixture
def ready(registered: Project) -> Project:
    registered.write("src/wait.py", WAIT)
    registered.write("src/hello.py", "print('hello')\n")
    return registered


def detach(project: Project, *line: str) -> str:
    done = project.envbuild("run", "--detach", *line)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run_json(project: Project, *line: str) -> Any:
    """Run to the end; options of `run` go before the source folder."""
    done = project.envbuild("run", "--json", *line)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def show(project: Project, run: str = "last") -> Any:
    return project.json("runs", "show", run)


def folder(project: Project, run: str) -> Path:
    (found,) = (project.home / "runs").glob(f"*/{run}")
    return found


def document(project: Project, run: str) -> Any:
    """The record as it is written, without asking envbuild (which would find a run lost)."""
    return json.loads((folder(project, run) / "run.json").read_bytes())


def processes_of(run: str) -> list[str]:
    """The command lines on this machine that name the run or its folders: supervisor, guard, sandbox."""
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if run in line]


def wait_ready(project: Project, run: str) -> None:
    wait_for(lambda: b"ready" in (folder(project, run) / "70_driver_log.txt").read_bytes())


def test_a_run_in_the_background_is_followed_to_its_end_by_anyone(ready: Project) -> None:
    ready.write("src/slow.py", "import time\nfor n in range(10):\n    print(n, flush=True)\n    time.sleep(0.1)\n")
    run = detach(ready, "src", "slow.py")
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{8}", run)
    followers = [ready.start("runs", "logs", "-f", run) for _ in range(2)]
    for follower in followers:
        stdout, stderr = follower.communicate(timeout=PATIENCE)
        assert stdout == "".join(f"{n}\n" for n in range(10)), stderr
    assert show(ready)["state"] == "Completed"
    assert ready.envbuild("runs", "logs", run).stdout == ready.envbuild("runs", "logs", "-f", run).stdout
    assert (folder(ready, run) / "supervisor.log").read_text() == ""


def test_a_run_in_the_background_has_a_page_while_a_studio_is_up(ready: Project) -> None:
    with announce(ready.home, "http://127.0.0.1:7"):
        done = ready.envbuild("run", "--detach", "src", "hello.py")
    run = done.stdout.strip()
    assert f"http://127.0.0.1:7/runs/{folder(ready, run).parent.name}/{run}\n" in done.stderr
    assert ready.envbuild("runs", "logs", "-f", run).stdout == "hello\n"


def test_who_stops_following_is_told_that_the_run_goes_on(ready: Project) -> None:
    run = detach(ready, "src", "wait.py")
    follower = ready.start("runs", "logs", "-f", run)
    assert follower.stdout is not None and follower.stdout.readline() == "ready\n"
    follower.send_signal(signal.SIGINT)
    _, stderr = follower.communicate(timeout=60)
    assert (follower.returncode, stderr) == (130, f"the run goes on; to end it: envbuild runs cancel {run}\n")
    assert ready.json("runs", "cancel", run)["state"] == "Canceled"


def test_the_supervisor_has_a_session_of_its_own(ready: Project) -> None:
    run = detach(ready, "src", "wait.py")
    wait_ready(ready, run)
    pid = document(ready, run)["process"]["pid"]
    assert os.getsid(pid) == pid
    assert ready.envbuild("runs", "cancel", run).returncode == 0


def test_a_canceled_job_may_end_well(ready: Project) -> None:
    run = detach(ready, "src", "wait.py")
    wait_ready(ready, run)
    assert show(ready, run)["state"] == "Running"
    canceled = ready.json("runs", "cancel", run)
    assert (canceled["state"], canceled["exit_code"]) == ("Canceled", 0)
    assert ready.envbuild("runs", "logs", run).stdout == "ready\nasked to stop\n"
    again = ready.envbuild("runs", "cancel", run)
    assert (again.returncode, "has ended already: Canceled" in again.stderr) == (2, True)


def test_a_job_that_does_not_stop_is_killed_after_the_grace(ready: Project) -> None:
    run = detach(ready, "src", "wait.py", "stubborn")
    wait_ready(ready, run)
    canceled = ready.json("runs", "cancel", "--grace", "1s", run)
    assert (canceled["state"], canceled["exit_code"]) == ("Canceled", 137)


def test_a_time_limit_fails_the_run_and_says_so(ready: Project) -> None:
    done = ready.envbuild("run", "--timeout", "1s", "src", "wait.py")
    assert done.returncode == 1
    assert "Failed: time limit (1s)" in done.stderr
    assert done.stdout in ("ready\nasked to stop\n", "")  # nothing: Python had not begun yet, on a busy machine
    assert show(ready)["reason"] == "time limit (1s)"


def test_a_killed_supervisor_takes_its_job_along_and_the_run_is_lost(ready: Project) -> None:
    run = detach(ready, "src", "wait.py")
    wait_ready(ready, run)
    os.kill(document(ready, run)["process"]["pid"], signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{document(ready, run)['sandbox_pid']}").exists())
    assert show(ready, run)["state"] == "Lost"
    follower = ready.envbuild("runs", "logs", "-f", run)
    assert (follower.returncode, follower.stdout) == (0, "ready\n")
    assert ready.envbuild("run", "src", "hello.py").returncode == 0
    assert list((ready.home / "scratch").glob("run-*")) == []


CONTAINER = ("unshare", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc")
"""Begins a command where this machine's pids mean nothing, and the host name is the same until somebody changes it."""


@pytest.fixture
def container() -> Sequence[str]:
    need("unshare")
    if subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no new pid namespace can be made here (root can)")
    return CONTAINER


def test_a_run_lives_for_every_container_that_shares_the_home(ready: Project, container: Sequence[str]) -> None:
    run = detach(ready, "src", "wait.py")
    wait_ready(ready, run)
    box = replace(ready, before=container)
    assert show(box, run)["state"] == "Running"
    refused = box.envbuild("runs", "cancel", run)
    assert (refused.returncode, "in another container of this machine" in refused.stderr) == (2, True)
    assert box.envbuild("run", "src", "hello.py").stdout == "hello\n"
    assert [entry.name for entry in (ready.home / "scratch").glob("run-*")] == [f"run-{run}"]
    os.kill(document(ready, run)["process"]["pid"], signal.SIGKILL)
    wait_for(lambda: show(box, run)["state"] == "Lost")


def test_a_run_of_a_container_that_is_gone_is_lost(ready: Project, container: Sequence[str]) -> None:
    box = replace(ready, before=[*container, "sh", "-c", 'hostname box && "$0" "$@"'])
    with box.start("run", "src", "wait.py") as job:
        assert job.stdout is not None and job.stdout.readline() == "ready\n"
        seen = show(ready)
        assert (seen["state"], seen["host"]) == ("Running", "box")
        job.kill()
    wait_for(lambda: show(ready)["state"] == "Lost")


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.3])
def test_a_supervisor_killed_at_any_moment_leaves_a_lost_run(ready: Project, moment: float) -> None:
    run = detach(ready, "src", "wait.py")
    subprocess.run(["sleep", str(moment)], check=True)
    os.kill(document(ready, run)["process"]["pid"], signal.SIGKILL)
    wait_for(lambda: show(ready, run)["state"] == "Lost")
    wait_for(lambda: processes_of(run) == [])
    assert ready.envbuild("run", "src", "hello.py").returncode == 0
    assert list((ready.home / "scratch").glob("run-*")) == []


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.3])
def test_a_run_canceled_at_any_moment_is_canceled(ready: Project, moment: float) -> None:
    run = detach(ready, "src", "wait.py")
    subprocess.run(["sleep", str(moment)], check=True)
    canceled = ready.json("runs", "cancel", run)
    assert canceled["state"] == "Canceled"
    pid = canceled.get("sandbox_pid")
    wait_for(lambda: pid is None or not Path(f"/proc/{pid}").exists())


def test_a_run_whose_reader_goes_says_so(ready: Project) -> None:
    ready.write("src/chatty.py", "import time\nwhile True:\n    print('on', flush=True)\n    time.sleep(0.01)\n")
    job = ready.start("run", "src", "chatty.py")
    assert job.stdout is not None and job.stdout.readline() == "on\n"
    job.stdout.close()
    assert job.wait(60) == 1
    record = show(ready)
    assert (record["state"], record["reason"]) == (
        "Failed", "nobody read the log any more (with --detach nobody needs to)",
    )  # fmt: skip


def test_a_run_in_the_foreground_is_canceled_from_elsewhere(ready: Project) -> None:
    job = ready.start("run", "src", "wait.py")
    assert job.stdout is not None and job.stdout.readline() == "ready\n"
    assert ready.json("runs", "cancel", "last")["state"] == "Canceled"
    stdout, _ = job.communicate(timeout=PATIENCE)
    assert (job.returncode, stdout) == (130, "asked to stop\n")


def test_a_run_is_run_again_with_the_same_code_in_the_same_image(ready: Project) -> None:
    ready.write("src/train.py", "import sys\nprint('first', sys.argv[1:])\n")
    first = run_json(ready, "src", "train.py", "--lr", "0.1", "--epochs", "2")
    ready.write("src/train.py", "print('second')\n")
    shutil.rmtree(ready.home / "trees")
    done = ready.envbuild("runs", "rerun", first["run_id"], "--lr", "0.5")
    assert done.stdout == "first ['--epochs', '2', '--lr', '0.5']\n", done.stderr
    again = show(ready)
    assert again["rerun_of"] == first["run_id"]
    assert (again["snapshot"], again["environment"]) == (first["snapshot"], first["environment"])
    assert again["parameters"] == {"epochs": 2, "lr": 0.5}


def test_what_a_script_says_of_itself_is_in_its_record(ready: Project) -> None:
    ready.write(
        "src/notes.py",
        "from envbuild import Run\nrun = Run.get_context()\nrun.tag('model', 'cnn')\nrun.add_properties({'by': 'me'})\n"
        "for fold in range(2):\n    child = run.child_run(name='fold-%d' % fold)\n    child.log('loss', 1.0)\n"
        "    child.tag('fold', str(fold))\n",
    )
    record = run_json(ready, "--tag", "team=vision", "src", "notes.py")
    assert record["tags"] == {"team": "vision", "model": "cnn"}
    assert record["properties"] == {"by": "me"}
    shown = ready.envbuild("runs", "list").stdout.splitlines()
    assert [line.split() for line in shown[2:]] == [["fold-0", "fold=0"], ["fold-1", "fold=1"]]


def test_tags_are_set_removed_and_selected_by(ready: Project) -> None:
    run = run_json(ready, "src", "hello.py")["run_id"]
    run_json(ready, "src", "hello.py")
    assert ready.json("runs", "tag", run, "best=yes", "model=cnn") == {"best": "yes", "model": "cnn"}
    assert ready.json("runs", "tag", "--remove", "best", run) == {"model": "cnn"}
    assert [each["run_id"] for each in ready.json("runs", "list", "--tag", "model=cnn")] == [run]
    assert ready.envbuild("runs", "tag", "--remove", "best", run).returncode == 2


def test_a_running_run_is_not_removed(ready: Project) -> None:
    run = detach(ready, "src", "wait.py")
    refused = ready.envbuild("runs", "remove", "--yes", run)
    assert (refused.returncode, "cancel it first" in refused.stderr) == (2, True)
    wait_ready(ready, run)
    ready.envbuild("runs", "cancel", run)
    assert ready.envbuild("runs", "remove", run).returncode == 2  # nobody answers the question
    assert ready.envbuild("runs", "remove", "--yes", run).returncode == 0
    assert ready.json("runs", "list") == []
    assert not (ready.home / "runs/project").exists()


def whole_lines(file: Path) -> list[str]:
    return file.read_text().rpartition("\n")[0].splitlines()


def test_what_a_job_uses_is_sampled(ready: Project) -> None:
    ready.write(
        "src/busy.py",
        "import os, time\nblock = bytearray(os.urandom(50 << 20))\n"
        "while sum(os.times()[:2]) < 0.5:\n    pass\n"
        "while not os.path.exists('outputs/seen'):\n    time.sleep(0.05)\n",
    )
    run = detach(ready, "src", "busy.py")
    samples = folder(ready, run) / "resources.jsonl"
    wait_for(lambda: samples.exists() and any(json.loads(line)["cpu_seconds"] >= 0.4 for line in whole_lines(samples)))
    assert len(whole_lines(samples)) >= 2
    (folder(ready, run) / "outputs/seen").touch()
    wait_for(lambda: show(ready, run)["state"] == "Completed")
    record = show(ready, run)
    assert record["resources"]["cpu_seconds"] >= 0.4
    assert record["resources"]["peak_memory"] > 50 << 20


def test_a_disk_that_fills_up_fails_the_job_and_the_record_says_so(ready: Project, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    runs = ready.home / "runs"
    runs.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", runs], check=True)
    try:
        ready.write("src/fill.py", "with open('outputs/big', 'wb') as file:\n    file.write(bytes(50 << 20))\n")
        done = ready.envbuild("run", "src", "fill.py")
        assert done.returncode == 1
        assert "No space left on device" in done.stdout + done.stderr
        assert "error: Traceback" not in done.stderr
        subprocess.run(["mount", "-o", "remount,size=100m", runs], check=True)
        assert show(ready)["state"] in ("Failed", "Lost")
        assert ready.envbuild("run", "src", "hello.py").returncode == 0
    finally:
        subprocess.run(["umount", "--lazy", runs], check=True)
