"""`envbuild register`, from the environment file to the image, with real packages."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import PATIENCE, Project, wait_for


def diff_ids(document: dict[str, object]) -> list[str]:
    image = document["image"]
    assert isinstance(image, dict)
    return [layer["diff_id"] for layer in image["layers"]]


def test_the_second_registration_is_reused(project: Project) -> None:
    first = project.json("register", "environment.yml")
    second = project.json("register", "environment.yml")
    assert (first["status"], first["version"]) == ("built", 1)
    assert (second["status"], second["version"], second["packed"]) == ("reused", 1, 0)
    assert second["image"] == first["image"]


def test_reordering_comments_and_name_change_neither_key_nor_image(project: Project) -> None:
    first = project.json("register", "environment.yml")
    project.write(
        "other.yml", "# a comment\nname: other\nchannels:\n - defaults\ndependencies: [Jinja2, 'python =3.11']\n"
    )
    other = project.json("register", "other.yml")
    assert other["spec_key"] == first["spec_key"]
    assert other["image"]["digest"] == first["image"]["digest"]
    assert (other["name"], other["packed"]) == ("other", 0)


def test_adding_a_package_packs_only_that_package(project: Project) -> None:
    first = project.json("register", "environment.yml")
    project.write(
        "environment.yml", "name: small\nchannels: [defaults]\ndependencies: [python=3.11, jinja2, pygments]\n"
    )
    second = project.json("register", "environment.yml")
    assert (second["version"], second["packed"], second["packages"]) == (2, 1, first["packages"] + 1)
    assert len(set(diff_ids(second)) - set(diff_ids(first))) == 2  # pygments, and the environment's own layer


def test_two_homes_give_identical_images(new_project: Callable[[str], Project]) -> None:
    one, two = new_project("one"), new_project("two")
    project_file = "name: small\nchannels: [defaults]\ndependencies: [python=3.11, jinja2, pygments, pip: [six]]\n"
    one.write("environment.yml", project_file)
    first = one.json("register", "environment.yml")
    (two.folder / "conda-lock.yml").write_bytes((one.home / "environments/small/1/conda-lock.yml").read_bytes())
    strange = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "7", "ENVBUILD_BUILD_WORKERS": "1"}
    old = os.umask(0o077)
    try:
        second = two.json("register", "conda-lock.yml", "--name", "small", env=strange)
    finally:
        os.umask(old)
    assert second["environment_id"] == first["environment_id"]
    assert diff_ids(second) == diff_ids(first)
    assert second["image"]["config_digest"] == first["image"]["config_digest"]


def test_the_build_log_has_a_line_for_every_stage(project: Project) -> None:
    log = Path(project.json("register", "environment.yml")["log"]).read_text()
    for stage in ("lock", "fetch", "plan", "pack", "image"):
        assert f"{stage:<8} done in" in log


def test_a_killed_build_is_completed_by_the_next(project: Project) -> None:
    environment = {**os.environ, "ENVBUILD_HOME": str(project.home)}
    line = [sys.executable, "-m", "envbuild", "register", "environment.yml"]
    for delay in (0.6, 1.0, 1.4):
        build = subprocess.Popen(
            line, cwd=project.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(delay)
        build.kill()
        build.communicate()
    done = project.json("register", "environment.yml")
    assert done["version"] == 1
    assert not [entry.name for entry in (project.home / "trees").iterdir() if entry.name.startswith(".tmp-")]


@pytest.mark.parametrize("stage", ["lock", "fetch", "plan", "pack", "image"])
def test_ctrl_c_in_any_stage_ends_with_130_and_the_next_build_completes(project: Project, stage: str) -> None:
    """The signal is sent as soon as the build log shows that the stage before has ended; the build stands still from
    then until it is sent, so that it cannot have got further than the log says."""
    before = {"lock": "spec key", "fetch": "lock     done", "plan": "fetch    done", "pack": "plan     done"}
    sign = before.get(stage, "pack     done")
    environment = {**os.environ, "ENVBUILD_HOME": str(project.home)}
    line = [sys.executable, "-m", "envbuild", "register", "environment.yml"]
    build = subprocess.Popen(line, cwd=project.folder, env=environment, stderr=subprocess.PIPE, text=True)

    def shown(text: str) -> bool:
        return any(text in log.read_text() for log in project.home.glob("logs/*/20_image_build_log.txt"))

    wait_for(lambda: build.poll() is not None or shown(sign), pause=0.005)
    build.send_signal(signal.SIGSTOP)
    too_late = shown("image    done")
    build.send_signal(signal.SIGINT)
    build.send_signal(signal.SIGCONT)
    _, stderr = build.communicate(timeout=PATIENCE)
    if not too_late or build.returncode != 0:
        assert build.returncode == 130, stderr
        sentence = "error: interrupted; nothing is half done, run the same command again to go on"
        assert stderr.splitlines()[-1] == sentence
    assert "Traceback" not in stderr
    done = project.json("register", "environment.yml")
    assert done["version"] == 1
    assert not [entry.name for entry in (project.home / "trees").iterdir() if entry.name.startswith(".tmp-")]


def test_unknown_packages_unsatisfiable_files_and_lost_channels_are_one_sentence(project: Project) -> None:
    for text, sentence in (
        ("dependencies: [python=3.11, nosuchpackage]", "nosuchpackage (no channel has this name)"),
        ("dependencies: [python=3.11, jinja2>99]", "jinja2 >99 (versions offered: 3.1.6)"),
        ("dependencies: [python=3.11, python=2.7]", "python"),
        ("dependencies: {", "not valid YAML"),
    ):
        project.write("bad.yml", f"name: bad\nchannels: [defaults]\n{text}\n")
        done = project.envbuild("register", "bad.yml")
        assert done.returncode == 2, done.stderr
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    project.write("bad.yml", "name: bad\nchannels: [file:///no/such/channel]\ndependencies: [python=3.11]\n")
    done = project.envbuild("register", "bad.yml")
    assert done.returncode == 1
    assert "envbuild.toml [channels]" in done.stderr


def test_a_changed_package_is_refused(project: Project, channel: Path) -> None:
    project.json("register", "environment.yml")
    lock = project.home / "environments/small/1/conda-lock.yml"
    text = lock.read_text()
    sha256 = next(line.split()[-1] for line in text.splitlines() if "sha256:" in line)
    project.write("conda-lock.yml", text.replace(sha256, "ab" * 32))
    done = project.envbuild("register", "conda-lock.yml", "--name", "damaged")
    assert done.returncode == 1
    assert "the lock says abab" in done.stderr


def test_the_record_is_plain_json(project: Project) -> None:
    project.json("register", "environment.yml")
    folder = project.home / "environments/small/1"
    assert sorted(entry.name for entry in folder.iterdir()) == [
        "20_image_build_log.txt",
        "conda-lock.yml",
        "environment.json",
        "provenance.json",
        "sbom.cdx.json",
        "spec.yml",
    ]
    assert json.loads((folder / "environment.json").read_text())["version"] == 1


def test_a_changed_requirements_file_that_is_included_makes_a_new_version(project: Project) -> None:
    project.write(
        "environment.yml", "name: small\nchannels: [defaults]\ndependencies: [python=3.11, pip, pip: [-r more.txt]]\n"
    )
    project.write("more.txt", "six==1.16.0\n")
    project.json("register", "environment.yml")
    project.write("more.txt", "six==1.17.0\n")
    second = project.json("register", "environment.yml")
    assert (second["version"], second["packed"]) == (2, 1)
    assert "six-1.17.0" in (project.home / "environments/small/2/conda-lock.yml").read_text()


def test_a_lock_that_cannot_be_written_here_is_a_sentence(project: Project) -> None:
    (project.folder / "conda-lock.yml").mkdir()
    done = project.envbuild("register", "environment.yml", "--no-build")
    assert done.returncode == 2
    assert f"conda-lock.yml cannot be written in {project.folder}: " in done.stderr
    assert [entry.name for entry in project.folder.glob(".*")] == []
