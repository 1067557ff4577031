"""The registry as somebody uses it for weeks: names that begin alike, tags, removals, collections, damaged records."""

import json
from pathlib import Path

import pytest
from harness import PATIENCE, Project, copy_home, started, wait_for
from test_gc import JOB

VERSIONS = [
    ("net", "python=3.11"),
    ("net", "python=3.11, jinja2"),
    ("net", "python=3.11, pygments"),
    ("net", "python=3.11, jinja2, pygments"),
    ("net", "python=3.11, pip"),
    ("net-small", "python=3.11, markupsafe"),
    ("net-small", "python=3.11, pip, jinja2"),
    ("net.small", "python=3.11, pip, pygments"),
    ("net2", "python=3.11, jinja2, pip, pygments"),
    ("n", "python=3.11"),
]


@pytest.fixture(scope="module")
def ten(shared: Path, channel: Path, seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A home with ten versions under five names."""
    folder = tmp_path_factory.mktemp("ten")
    project = Project(folder, folder / "home")
    copy_home(seed, project.home)
    project.write(
        "envbuild.toml",
        f'[channels]\ndefaults = "{channel.as_uri()}"\n[virtual-packages]\nlinux-64 = {{ __glibc = "2.36" }}\n',
    )
    for name, dependencies in VERSIONS:
        project.write("environment.yml", f"name: {name}\nchannels: [defaults]\ndependencies: [{dependencies}]\n")
        project.json("register", "environment.yml")
    return project


@pytest.fixture
def project(ten: Project, tmp_path: Path) -> Project:
    """A copy of it for one test; nothing in it is shared but the content of files that are never changed."""
    home = tmp_path / "home"
    copy_home(ten.home, home)
    (tmp_path / "project").mkdir()
    copy = Project(tmp_path / "project", home)
    copy.write("envbuild.toml", (ten.folder / "envbuild.toml").read_text())
    return copy


def references(project: Project, *name: str) -> list[str]:
    return [f"{each['name']}:{each['version']}" for each in project.json("env", "list", *name)]


def test_names_that_begin_alike_are_kept_apart(project: Project) -> None:
    assert references(project, "net") == ["net:1", "net:2", "net:3", "net:4", "net:5"]
    assert references(project, "n") == ["n:1"]
    done = project.envbuild("env", "list", "ne")
    assert (done.returncode, "no environment is named 'ne'; did you mean net?" in done.stderr) == (2, True)
    project.json("env", "remove", "net")
    assert references(project) == ["n:1", "net-small:1", "net-small:2", "net.small:1", "net2:1"]
    project.json("gc")
    for name in ("net-small:1", "net.small", "net2", "n"):
        done = project.envbuild("export", name, f"oci:{name.replace(':', '-')}")
        assert (done.returncode, "collected" in done.stderr) == (0, False), done.stderr


def test_tags_that_look_like_versions_are_what_they_say(project: Project) -> None:
    for tag in ("3", "03", "latest", "Latest", ""):
        done = project.envbuild("env", "tag", "net:3", "--", tag)
        assert (done.returncode, done.stdout) == (2, ""), tag
    for tag in ("1.0", "v3", "1-2"):
        assert project.json("env", "tag", "net:2", tag)["version"] == 2
        assert project.json("env", "show", f"net:{tag}")["version"] == 2
    done = project.envbuild("env", "show", "net:03")
    assert "net has no version or tag '03'; it has 1, 2, 3, 4, 5; tags: 1-2, 1.0, v3" in done.stderr
    assert "net names no tag; write net:TAG" in project.envbuild("env", "untag", "net").stderr
    done = project.envbuild("env", "untag", "net:3")
    assert "net:3 is a version: envbuild env remove" in done.stderr
    done = project.envbuild("env", "remove", "net:v3")
    assert "the tags 1-2, 1.0, v3 point at net:2; move them, remove each" in done.stderr


def test_removing_what_a_tag_points_at_takes_the_tag_and_history_keeps_both(project: Project) -> None:
    project.json("env", "tag", "net:3", "prod")
    done = project.envbuild("env", "remove", "net:prod")
    assert (done.returncode, "the tag prod points at net:3; move it, remove it" in done.stderr) == (2, True)
    done = project.envbuild("env", "remove", "net:prod", "--force")
    assert done.stdout.startswith("net:3  removed\nnet:prod  removed: it pointed at nothing else\nenvbuild gc will now")
    assert "it has 1, 2, 4, 5" in project.envbuild("env", "show", "net:prod").stderr
    events = [(each["what"], each["version"], each["detail"]) for each in project.json("env", "history", "net")]
    assert ("registered", 3, "+ pygments 2.19.2, - jinja2 3.1.6, - markupsafe 3.0.2 and 1 more change") in events
    assert events[-1] == ("removed", 3, "with the tags prod")
    project.write("environment.yml", "name: net\nchannels: [defaults]\ndependencies: [python=3.11, pygments]\n")
    assert project.json("register", "environment.yml")["version"] == 6


def test_two_collections_at_once(project: Project) -> None:
    project.json("env", "remove", "net")
    with started(project, "gc", "--json") as first, started(project, "gc", "--json") as second:
        results = [(process.communicate(timeout=PATIENCE), process.returncode) for process in (first, second)]
    for (out, said), code in results:
        assert (code == 0 and json.loads(out)["bytes"] >= 0) or (code == 1 and "in use by envbuild gc" in said), said
    assert 0 in [code for _, code in results]
    assert project.json("gc")["kinds"].keys() <= {"temporaries"}
    assert project.envbuild("export", "net2", "oci:image").returncode == 0


def test_a_collection_beside_a_run_takes_nothing_that_the_run_has(project: Project) -> None:
    project.write("src/train.py", JOB)
    sign = project.folder / "sign"
    sign.mkdir()
    with started(project, "run", "--env", "net:2", "--mount", f"sign={sign}", "src", "train.py") as job:
        assert job.stdout is not None and job.stdout.readline() == "started\n"
        found = project.json("gc", "--keep-last", "1")
        assert found["removed"] == ["net:1", "net:3", "net:4", "net-small:1"]
        assert found["cold"] == ["net:2"]  # kept for the run, and its layers are mounted
        (sign / "go").touch()
        output, said = job.communicate(timeout=PATIENCE)
        assert (job.returncode, output) == (0, "3.1.6\n"), said
    assert references(project, "net") == ["net:2", "net:5"]
    assert project.envbuild("runs", "rerun", "last").returncode == 0


def test_damaged_records_stop_the_collection_and_nothing_else(project: Project) -> None:
    (project.home / "environments/net/77").mkdir()
    done = project.envbuild("gc")
    assert (done.returncode, "(envbuild env remove net:77), then collect again" in done.stderr) == (1, True)
    listed = project.envbuild("env", "list")
    assert listed.returncode == 0 and "net:5" in listed.stdout and "envbuild env remove net:77" in listed.stderr
    removed = project.envbuild("env", "remove", "net-small:1")
    assert removed.returncode == 0 and "free" not in removed.stdout and "is damaged" in removed.stderr
    assert project.json("env", "remove", "net:77")["removed"] == ["net:77"]
    (project.home / "environments/net2/tags.json").write_text("{")
    listed = project.envbuild("env", "list")
    assert listed.returncode == 0 and "net2:1" in listed.stdout
    assert "net2/tags.json cannot be read" in listed.stderr and "set the tags again" in listed.stderr
    (project.home / "environments/net2/tags.json").unlink()
    assert project.envbuild("gc").returncode == 0


def test_a_damaged_record_of_a_run_stops_the_collection(project: Project) -> None:
    project.write("src/train.py", "print('trained')\n")
    assert project.envbuild("run", "--env", "net:5", "src", "train.py").returncode == 0
    (record,) = project.home.glob("runs/*/*/run.json")
    whole = record.read_bytes()
    record.write_bytes(whole[:100])
    done = project.envbuild("gc")
    assert done.returncode == 1
    assert f"{record} cannot be read, so nobody knows which snapshot that run needs" in done.stderr
    record.write_bytes(whole)
    assert project.envbuild("gc").returncode == 0
    assert project.envbuild("runs", "rerun", "last").returncode == 0


def test_the_project_s_environment_was_removed(project: Project) -> None:
    project.write("environment.yml", "name: own\nchannels: [defaults]\ndependencies: [python=3.11]\n")
    project.json("register", "environment.yml")
    project.json("env", "remove", "own")
    project.write("src/train.py", "print('trained')\n")
    done = project.envbuild("run", "src", "train.py")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "own" in done.stderr, done.stderr


def test_somebody_waits_for_a_collection_to_end(project: Project) -> None:
    """A build that begins while a collection runs is made on what it left."""
    project.json("env", "remove", "net")
    with started(project, "gc", "--json") as gc:
        wait_for(lambda: gc.poll() is not None or any(project.home.glob("trees/.tmp-*")), pause=0.001)
        project.write("environment.yml", "name: net\nchannels: [defaults]\ndependencies: [python=3.11, pygments]\n")
        made = project.json("register", "environment.yml")
        assert gc.wait(PATIENCE) == 0
    assert made["version"] == 6
    assert project.envbuild("export", "net", "oci:image").returncode == 0
