"""`envbuild gc` on real environments, beside real builds and runs, killed and on time."""

import os
import random
import signal
import time

import pytest
from harness import PATIENCE, Project, started, wait_for

SMALL = "name: small\nchannels: [defaults]\ndependencies: [{}]\n"
JOB = """\
import pathlib, time
print("started", flush=True)
while not pathlib.Path("/envbuild/data/sign/go").exists():
    time.sleep(0.05)
import jinja2
print(jinja2.__version__)
"""


def register(project: Project, dependencies: str) -> dict[str, object]:
    project.write("environment.yml", SMALL.format(dependencies))
    document: dict[str, object] = project.json("register", "environment.yml")
    return document


def trees(project: Project) -> set[str]:
    return {entry.name for entry in (project.home / "trees").iterdir() if not entry.name.startswith(".")}


def test_a_removed_version_leaves_nothing_and_the_others_whole(project: Project) -> None:
    register(project, "python=3.11, jinja2")
    before = trees(project)
    register(project, "python=3.11, jinja2, pygments")
    assert project.json("gc")["kinds"].keys() <= {"temporaries", "logs"}
    removed = project.json("env", "remove", "small:2")
    found = project.json("gc")
    assert trees(project) == before
    assert found["kinds"]["trees"]["entries"] >= 4  # pygments and the environment's own layer, each with its record
    assert 0 < found["bytes"] <= removed["bytes"] + 100_000
    assert project.envbuild("export", "small", "oci:image").returncode == 0
    assert project.json("gc")["kinds"].keys() <= {"temporaries"}


def test_a_collected_environment_is_built_again_aloud(project: Project) -> None:
    first = register(project, "python=3.11, jinja2")
    old = time.time() - 40 * 86400
    os.utime(project.home / "environments/small/1", (old, old))
    assert project.json("gc", "--older-than", "30d")["cold"] == ["small:1"]
    assert len(trees(project)) == 1  # the base
    project.write("src/train.py", "import jinja2\nprint(jinja2.__version__)\n")
    done = project.envbuild("run", "src", "train.py")
    assert (done.returncode, done.stdout) == (0, "3.1.6\n"), done.stderr
    assert "the layers of small:1 were collected; building them again from its lock" in done.stderr
    assert project.json("env", "show", "small")["image"] == first["image"]
    os.utime(project.home / "environments/small/1", (old, old))
    project.json("gc", "--older-than", "30d")
    done = project.envbuild("export", "small", "oci:image")
    assert done.returncode == 0 and "were collected" in done.stderr


def test_keep_last_leaves_what_a_run_needs_to_run_again(project: Project) -> None:
    register(project, "python=3.11, jinja2")
    project.write("src/train.py", "print('trained')\n")
    assert project.envbuild("run", "src", "train.py").returncode == 0
    register(project, "python=3.11, pygments")
    register(project, "python=3.11")
    found = project.json("gc", "--keep-last", "1")
    assert (found["removed"], found["cold"]) == (["small:2"], ["small:1"])
    done = project.envbuild("runs", "rerun", "last")
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr
    done = project.envbuild("env", "remove", "small:1")
    assert done.returncode == 2 and "is the environment of the run" in done.stderr


def test_gc_keeps_out_while_a_build_runs(project: Project) -> None:
    project.write("environment.yml", SMALL.format("python=3.11, jinja2"))
    with started(project, "register", "environment.yml") as build:
        wait_for(lambda: any("spec key" in log.read_text() for log in project.home.glob("logs/*/20_*.txt")))
        build.send_signal(signal.SIGSTOP)
        done = project.envbuild("gc")
        build.send_signal(signal.SIGCONT)
        assert done.returncode == 1
        assert f"in use by envbuild register environment.yml (process {build.pid})" in done.stderr
        assert build.wait(PATIENCE) == 0
    assert project.envbuild("gc").returncode == 0


def test_what_a_running_job_has_mounted_stays(project: Project) -> None:
    register(project, "python=3.11, jinja2")
    project.write("src/train.py", JOB)
    sign = project.folder / "sign"
    sign.mkdir()
    with started(project, "run", "--mount", f"sign={sign}", "src", "train.py") as job:
        assert job.stdout is not None and job.stdout.readline() == "started\n"
        assert project.envbuild("env", "remove", "small", "--force").returncode == 0
        found = project.json("gc")
        assert len(found["held"]) >= 3
        (sign / "go").touch()
        output, said = job.communicate(timeout=PATIENCE)
        assert (job.returncode, output) == (0, "3.1.6\n"), said
    assert project.json("gc")["held"] == []
    assert len(trees(project)) == 1


def test_a_killed_gc_leaves_nothing_that_trips_the_next_build(project: Project) -> None:
    register(project, "python=3.11, jinja2, pygments")
    kept = project.json("env", "show", "small")["image"]
    chance = random.Random(7)
    for _ in range(4):
        project.json("env", "remove", "small")
        with started(project, "gc") as gc:
            time.sleep(0.35 + chance.random() * 0.3)
        assert gc.returncode in (0, -signal.SIGKILL)
        again = register(project, "python=3.11, jinja2, pygments")
        assert again["image"] == kept
    assert project.envbuild("export", "small", "oci:image").returncode == 0  # every layer is hashed on the way
    assert not [name for name in trees(project) if name.startswith(".tmp-")]


@pytest.mark.parametrize("line", [("gc", "--older-than", "soon"), ("gc", "--keep-last", "0")])
def test_wrong_options_are_a_sentence(project: Project, line: tuple[str, ...]) -> None:
    done = project.envbuild(*line)
    assert done.returncode == 2
    assert line[1] in done.stderr and "Traceback" not in done.stderr
