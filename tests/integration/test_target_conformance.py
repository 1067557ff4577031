"""What every target promises to a job, whichever program runs it: bubblewrap new or old, Docker Engine, Podman."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from engines import Daemon
from filelock import FileLock
from harness import Project, copy_home, wait_for

from envbuild.builder.publish.engine import find_engine
from envbuild.builder.sandbox.bubblewrap import find_bubblewrap
from envbuild.builder.sandbox.command import Mount
from envbuild.builder.store import Store
from envbuild.errors import EngineError
from envbuild.registry.environments import load
from envbuild.settings import Settings
from envbuild.trainer.targets import Job, Outcome, Target, find_target
from envbuild.trainer.targets.container import RUN_LABEL, watched_containers

KINDS = ["local-overlay", "local-merged", "docker", "podman"]
OTHER = 4711
"""A user who is not root."""


@pytest.fixture(scope="session")
def registered(shared: Path, channel: Path, seed: Path) -> Project:
    """A project with the small environment; every test process uses it, and none changes it."""
    project = Project(shared / "conformance", shared / "conformance-home")
    with FileLock(shared / "conformance.lock"):
        if not project.folder.exists():
            copy_home(seed, project.home)
            project.write(
                "envbuild.toml",
                f'[channels]\ndefaults = "{channel.as_uri()}"\n[virtual-packages]\nlinux-64 = {{ __glibc = "2.36" }}\n',
            )
            project.write("environment.yml", "name: small\nchannels: [defaults]\ndependencies:\n- python=3.11\n")
            project.json("register", "environment.yml")
    return project


@dataclass(frozen=True)
class Place:
    """A target under test."""

    kind: str
    settings: Settings
    toml: str
    """What makes the command line use it."""

    @property
    def target(self) -> Target:
        return find_target("tested", self.settings)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, registered: Project) -> Place:
    kind: str = request.param
    if kind in ("docker", "podman"):
        daemon: Daemon = request.getfixturevalue(f"{kind}_engine")
        table = {"type": "docker", "host": daemon.host, "network": "host"}
        settings = Settings(home=registered.home, targets={"tested": table})
        return Place(
            kind, settings, "[targets.tested]\n" + "".join(f'{key} = "{value}"\n' for key, value in table.items())
        )
    bwrap = "" if kind == "local-overlay" else _old_bubblewrap()
    settings = Settings(home=registered.home, bwrap=bwrap, targets={"tested": {"type": "local"}})
    assert find_bubblewrap(settings).overlay == (kind == "local-overlay")
    return Place(kind, settings, f'[build]\nbwrap = "{bwrap}"\n[targets.tested]\ntype = "local"\n')


def _old_bubblewrap() -> str:
    """Debian's own bubblewrap, which knows no overlays."""
    path = "/usr/bin/bwrap"
    if (
        not Path(path).exists()
        or "0.8" not in subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    ):
        pytest.skip("no bubblewrap 0.8 at /usr/bin/bwrap (.ci/debian-packages installs Debian 12's)")
    return path


@pytest.fixture
def make(registered: Project, tmp_path: Path) -> Callable[..., Job]:
    """Makes jobs that run a shell script in the small environment."""
    store = Store(registered.home)
    environment = load(registered.home, "small")
    (tmp_path / "log").touch()

    def job(script: str, **changes: Any) -> Job:
        plain = Job(
            argv=["/bin/sh", "-c", script],
            root=environment.root(store),
            mounts=[],
            env={"PATH": "/opt/env/bin:/usr/bin", "HOME": "/tmp"},
            cwd="/",
            log=tmp_path / "log",
            network=False,
            cpus=None,
            memory=None,
            shm_size=1 << 20,
            run_id=tmp_path.name,
            image=environment.image(store),
            image_name="small:1",
        )
        return replace(plain, **changes)

    return job


def run(place: Place, job: Job, follow: Callable[[bytes], None] | None = None) -> Outcome:
    return place.target.run(job, lambda pid: None, follow)


def on_ready(action: Callable[[], None]) -> Callable[[bytes], None]:
    """Acts once, when the job has said that it is ready."""
    waiting = [action]
    return lambda piece: waiting.pop()() if waiting and b"ready" in piece else None


def interrupt(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("code", [0, 1, 7, 125, 127, 255])
def test_exit_codes_are_exact(place: Place, make: Callable[..., Job], code: int) -> None:
    assert run(place, make(f"exit {code}")) == Outcome(code, canceled=False)


def test_a_job_killed_by_a_signal_says_which(place: Place, make: Callable[..., Job]) -> None:
    assert run(place, make("kill -9 $$")) == Outcome(128 + 9, canceled=False)


def test_the_log_holds_both_streams_in_order_and_is_followed_whole(place: Place, make: Callable[..., Job]) -> None:
    pieces: list[bytes] = []
    job = make("for i in 1 2 3; do printf 'one\\000'; printf 'two\\r' >&2; done; printf '\\377three'")
    run(place, job, pieces.append)
    assert job.log.read_bytes() == b"".join(pieces) == b"one\0two\r" * 3 + b"\xffthree"


def test_a_large_output_is_exact(place: Place, make: Callable[..., Job]) -> None:
    """50 MB, faster than anybody reads."""
    job = make("i=0; while [ $i -lt 50 ]; do head -c 1000000 /usr/bin/bash; i=$((i+1)); done")
    run(place, job)
    bash = next(tree / "usr/bin/bash" for tree in job.root.trees if (tree / "usr/bin/bash").exists())
    expected = hashlib.sha256(bash.read_bytes()[:1_000_000] * 50).hexdigest()
    assert (job.log.stat().st_size, hashlib.sha256(job.log.read_bytes()).hexdigest()) == (50_000_000, expected)


def test_the_log_is_live(place: Place, make: Callable[..., Job], tmp_path: Path) -> None:
    """The job goes on only after its first line was seen here."""
    (tmp_path / "shown").mkdir()
    job = make(
        "echo ready; until [ -e /envbuild/seen/it ]; do sleep 0.05; done; echo went on",
        mounts=[Mount(tmp_path / "shown", "/envbuild/seen")],
    )
    run(place, job, on_ready((tmp_path / "shown/it").touch))
    assert job.log.read_text() == "ready\nwent on\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_reach_the_command_which_may_end_well(place: Place, make: Callable[..., Job], number: int) -> None:
    job = make("trap 'echo stopped; exit 3' INT TERM HUP; echo ready; while :; do sleep 0.05; done")
    assert run(place, job, on_ready(interrupt(number))) == Outcome(3, canceled=True)
    assert job.log.read_text() == "ready\nstopped\n"


def test_a_job_that_ignores_signals_is_killed_after_the_grace_period(place: Place, make: Callable[..., Job]) -> None:
    job = make("trap '' INT TERM; echo ready; while :; do sleep 0.05; done", grace=lambda: 0.3)
    assert run(place, job, on_ready(interrupt(signal.SIGTERM))) == Outcome(137, canceled=True)


def test_a_follower_that_fails_leaves_no_job_behind(place: Place, make: Callable[..., Job], tmp_path: Path) -> None:
    def broken(piece: bytes) -> None:
        raise BrokenPipeError

    (tmp_path / "beat").mkdir()
    job = make(
        "echo ready; while :; do date +%N > /envbuild/beat/time; sleep 0.05; done",
        mounts=[Mount(tmp_path / "beat", "/envbuild/beat", writable=True)],
    )
    with pytest.raises(BrokenPipeError):
        run(place, job, broken)
    assert_still(tmp_path / "beat")


def assert_still(folder: Path) -> None:
    """Nobody writes into `folder` any more.

    Not at once: Podman before 4.4 does not wait for the processes of a container that another client is just stopping
    (podman pull request 17040), and who starts a job here may be removing what a killed one has left.
    """

    def written() -> list[str]:
        return [each.read_text() for each in folder.iterdir()]

    def still() -> bool:
        before = written()
        time.sleep(0.5)
        return written() == before

    wait_for(still)


def test_children_that_outlive_the_command_go_with_it(place: Place, make: Callable[..., Job], tmp_path: Path) -> None:
    (tmp_path / "beat").mkdir()
    job = make(
        "(while :; do date +%N > /envbuild/beat/time; sleep 0.05; done) > /dev/null 2>&1 & sleep 0.3; exit 0",
        mounts=[Mount(tmp_path / "beat", "/envbuild/beat", writable=True)],
    )
    assert run(place, job).exit_code == 0
    assert_still(tmp_path / "beat")


def test_mounts_are_read_only_or_writable_as_asked(place: Place, make: Callable[..., Job], tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "in/given").write_text("given\n")
    (tmp_path / "file ü").write_text("a file\n")
    job = make(
        "cat given /envbuild/file; echo new > /envbuild/data/out/grün; touch given 2> /dev/null || echo kept; pwd",
        mounts=[
            Mount(tmp_path / "in", "/envbuild/data/in"),
            Mount(tmp_path / "out", "/envbuild/data/out", writable=True),
            Mount(tmp_path / "file ü", "/envbuild/file"),
        ],
        cwd="/envbuild/data/in",
    )
    assert run(place, job).exit_code == 0
    assert job.log.read_text() == "given\na file\nkept\n/envbuild/data/in\n"
    written = tmp_path / "out/grün"
    assert (written.read_text(), written.stat().st_uid, written.stat().st_gid) == ("new\n", os.getuid(), os.getgid())


def test_limits_hold(place: Place, make: Callable[..., Job]) -> None:
    job = make("nproc; df -B1 --output=size /dev/shm | tail -1 | tr -d ' '", cpus=1, shm_size=3 << 20)
    run(place, job)
    assert job.log.read_text() == f"1\n{3 << 20}\n"


def test_more_memory_than_the_limit_ends_the_job(place: Place, make: Callable[..., Job]) -> None:
    script = "python -c 'x = bytearray(400 << 20); print(len(x))'"
    outcome = run(place, make(script, memory=200 << 20))
    assert outcome.exit_code != 0 and not outcome.canceled
    if not place.kind.startswith("local"):  # there Python says MemoryError itself
        assert f"wanted more memory than the {200 << 20} bytes that it may have" in outcome.reason
    assert run(place, make(script, memory=600 << 20)).exit_code == 0


def test_a_gpu_is_seen_by_a_job_that_asks_for_one(place: Place, make: Callable[..., Job], tmp_path: Path) -> None:
    """A device node, a driver library (by the name that programs ask for) and a program, as a CDI file names them."""
    job = make(
        "head -c 4 /dev/gpu0 | od -An -tx1; sample-smi; "
        'python -c \'import ctypes; ctypes.CDLL("libsample.so.1"); print("loaded")\''
    )
    library = next(found for tree in job.root.trees for found in tree.glob("usr/lib/*/libz.so.1.*"))
    shutil.copy(library, tmp_path / "libsample.so.7.1")
    (tmp_path / "libsample.so.1").symlink_to("libsample.so.7.1")
    (tmp_path / "sample-smi").write_text("#!/bin/sh\necho GPU 0: $SAMPLE_DEVICES\n")
    (tmp_path / "sample-smi").chmod(0o755)
    shared = {
        "env": ["SAMPLE_DEVICES=0"],
        "mounts": [
            {"hostPath": str(tmp_path / "libsample.so.7.1"), "containerPath": "/usr/lib64/libsample.so.7.1"},
            {"hostPath": str(tmp_path / "sample-smi"), "containerPath": "/usr/bin/sample-smi"},
        ],
    }
    device = {
        "name": "0",
        "containerEdits": {"deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/zero"}]},
    }
    document = {"cdiVersion": "0.6.0", "kind": "sample.com/gpu", "containerEdits": shared, "devices": [device]}
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi/sample.json").write_text(json.dumps(document))
    table = {**place.settings.targets["tested"], "cdi-spec-dirs": [str(tmp_path / "cdi")]}
    target = find_target("tested", replace(place.settings, targets={"tested": table}))
    target.run(job, lambda pid: None, None)
    assert "/dev/gpu0" in job.log.read_text()  # who asks for none sees none
    if place.kind == "docker":  # this one has a driver of its own for devices
        with pytest.raises(EngineError, match="could not select device driver"):
            target.run(replace(job, gpus="1"), lambda pid: None, None)
        return
    job.log.write_bytes(b"")
    target.run(replace(job, gpus="1"), lambda pid: None, None)
    assert job.log.read_text() == " 00 00 00 00\nGPU 0: 0\nloaded\n"


def test_without_network_loopback_is_all_there_is(place: Place, make: Callable[..., Job]) -> None:
    job = make("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '")
    run(place, job)
    assert job.log.read_text() == "lo\n"


def test_with_network_there_is_more(place: Place, make: Callable[..., Job]) -> None:
    job = make("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '", network=True)
    run(place, job)
    assert set(job.log.read_text().split()) == {each.name for each in Path("/sys/class/net").iterdir()}


def test_a_job_has_places_to_write_and_leaves_nothing(place: Place, make: Callable[..., Job]) -> None:
    script = "set -e; echo x > /tmp/new; echo x > $HOME/new; mkdir /scratch /etc/new /var/tmp/new; echo ok"
    for _ in range(2):  # a second job finds nothing of the first
        job = make(script)
        assert (run(place, job).exit_code, job.log.read_text()) == (0, "ok\n")
        job.log.write_bytes(b"")


def test_what_the_image_brings_is_never_changed(place: Place, make: Callable[..., Job]) -> None:
    job = make("{ echo changed >> $0; } 2> /dev/null; wc -c < $0")
    job = replace(job, argv=[*job.argv, "/opt/env/lib/python3.11/this.py"])
    for _ in range(2):
        run(place, job)
    first, second = job.log.read_text().split()
    assert first == second


def test_only_the_given_environment_is_there(
    place: Place, make: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "1")
    job = make("env", env={"PATH": "/usr/bin", "GREETING": "grüß = '$HOME'\n2"})
    run(place, job)
    shown = job.log.read_text()
    assert "SECRET" not in shown and "GREETING=grüß = '$HOME'\n2\n" in shown


def test_input_is_empty(place: Place, make: Callable[..., Job]) -> None:
    job = make("cat; echo end")
    run(place, job)
    assert job.log.read_text() == "end\n"


def test_a_killed_supervisor_leaves_no_job(
    place: Place, make: Callable[..., Job], registered: Project, tmp_path: Path
) -> None:
    """kill -9 of us: the job goes at once with all that it started, an ended container when the next job starts."""
    project = Project(tmp_path / "project", registered.home)
    project.write("envbuild.toml", place.toml)
    project.write("src/train.py", BEAT)
    (tmp_path / "project/src/outputs").mkdir()
    command = [sys.executable, "-m", "envbuild", "run", "--target", "tested", "--no-network", "--env", "small"]
    process = subprocess.Popen(
        [*command, "src", "train.py"], cwd=project.folder, env={**os.environ, "ENVBUILD_HOME": str(project.home)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"ready\n", process.stderr.read().decode()
    (mine,) = [run for run in project.json("runs", "list") if run["source"].startswith(str(tmp_path))]
    folder = project.home / "runs" / mine["experiment"] / mine["run_id"]
    wait_for(lambda: "sandbox_pid" in json.loads((folder / "run.json").read_text()))
    sandbox = Path(f"/proc/{json.loads((folder / 'run.json').read_text())['sandbox_pid']}")
    assert sandbox.exists()
    process.kill()
    process.wait()
    assert project.json("runs", "show", mine["run_id"])["state"] == "Lost"
    wait_for(lambda: not sandbox.exists())
    assert_still(folder / "outputs")
    assert run(place, make("exit 0")).exit_code == 0
    if not place.kind.startswith("local"):
        engine = find_engine(place.settings.targets["tested"]["host"])
        assert mine["run_id"] not in [each.labels[RUN_LABEL] for each in watched_containers(engine)]


BEAT = """\
import os, time
if os.fork():
    print("ready", flush=True)
else:
    os.setsid()
while True:
    open(f"outputs/{os.getpid()}", "w").write(str(time.time()))
    time.sleep(0.05)
"""


def test_a_job_begins_with_no_children_and_no_files_but_its_streams(place: Place, make: Callable[..., Job]) -> None:
    """What a target puts beside the job is nothing that the job could wait for, or hold open."""
    job = make('exec python -c "$0"')
    job = replace(job, argv=[*job.argv, BARE])
    assert run(place, job).exit_code == 0, job.log.read_text()
    assert job.log.read_text() == "[0, 1, 2]\nno children\n"


BARE = """\
import os
files = [each for each in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{each}")]
print(sorted(files))
try:
    os.wait()
except ChildProcessError:
    print("no children")
"""


def test_what_a_job_sends_to_its_group_reaches_nobody_else(place: Place, make: Callable[..., Job]) -> None:
    job = make("trap 'echo caught' TERM; kill -TERM 0; sleep 0.5; exit 5")
    assert run(place, job) == Outcome(5, canceled=False)
    assert job.log.read_text() == "caught\n"


SCRIPT = """\
import getpass, os, pathlib, sys
import sibling, top
assert pathlib.Path.home() == pathlib.Path("/tmp")
print(sys.path[0], os.getcwd(), getpass.getuser(), sys.argv[1:], sibling.NAME, top.NAME)
pathlib.Path("outputs/made").write_text("made")
pathlib.Path("data").mkdir()
import envbuild
envbuild.Run.get_context().log("loss", 0.5)
"""


def test_a_script_in_a_folder_sees_the_snapshot_first_and_its_siblings_too(
    place: Place, registered: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path / "project", registered.home)
    project.write("envbuild.toml", place.toml)
    project.write("src/sub/train.py", SCRIPT)
    project.write("src/sub/sibling.py", "NAME = 'sibling'")
    project.write("src/top.py", "NAME = 'top'")
    options = ("--json", "--target", "tested", "--no-network", "--env", "small")
    done = project.envbuild("run", *options, "src", "sub/train.py", "grün", "a b")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    folder = project.home / "runs" / record["experiment"] / record["run_id"]
    assert record["state"] == "Completed"
    user = "root" if os.getuid() == 0 else "job"
    assert (folder / "70_driver_log.txt").read_text() == (
        f"/envbuild/code /envbuild/code {user} ['grün', 'a b'] sibling top\n"
    )
    assert (folder / "outputs/made").stat().st_uid == os.getuid()
    assert '"loss"' in (folder / "metrics.jsonl").read_text()


@pytest.mark.parametrize("place", ["docker", "podman"], indirect=True)  # a sandbox runs as its caller
def test_a_container_may_run_as_another_user(place: Place, make: Callable[..., Job], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    os.chown(tmp_path / "out", OTHER, OTHER)
    table = {**place.settings.targets["tested"], "user": f"{OTHER}:{OTHER}"}
    other = replace(place, settings=replace(place.settings, targets={"tested": table}))
    job = make("id -u; touch /out/file", mounts=[Mount(tmp_path / "out", "/out", writable=True)])
    assert run(other, job).exit_code == 0
    assert (job.log.read_text(), (tmp_path / "out/file").stat().st_uid) == (f"{OTHER}\n", OTHER)
