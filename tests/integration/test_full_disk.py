"""A disk that fills up in the middle of a build: one sentence, nothing half done, and the next build goes on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Project


@pytest.fixture
def small_disk(tmp_path: Path, seed: Path) -> Iterator[Path]:
    """A file system in memory that has room for the base and little more."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=110m", "tmpfs", disk], check=True)
    try:
        subprocess.run(["cp", "-a", seed, disk / "home"], check=True)
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_is_a_sentence_and_the_next_build_goes_on(project: Project, small_disk: Path) -> None:
    home = {"ENVBUILD_HOME": str(small_disk / "home")}
    done = project.envbuild("register", "environment.yml", env=home)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr and "make room" in done.stderr
    assert "Traceback" not in done.stderr
    subprocess.run(["mount", "-o", "remount,size=500m", small_disk], check=True)
    assert project.json("register", "environment.yml", env=home)["status"] == "built"


def test_apt_is_not_asked_where_there_is_no_room_for_a_base(project: Project, small_disk: Path) -> None:
    subprocess.run(["rm", "-r", small_disk / "home"], check=True)
    subprocess.run(["mount", "-o", "remount,size=30m", small_disk], check=True)
    home = {"ENVBUILD_HOME": str(small_disk / "home")}
    done = project.envbuild("register", "environment.yml", env=home)
    assert done.returncode == 1
    assert "has room for 31.4 MB, and the Debian packages of the base debian12-minimal take about" in done.stderr
    assert not (small_disk / "home/cache/apt").exists()
    subprocess.run(["mount", "-o", "remount,size=500m", small_disk], check=True)
    assert project.json("register", "environment.yml", env=home)["status"] == "built"


def test_gc_makes_room_on_a_full_disk(project: Project, small_disk: Path) -> None:
    home = {"ENVBUILD_HOME": str(small_disk / "home")}
    assert project.envbuild("register", "environment.yml", env=home).returncode == 1
    with (small_disk / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError, match="No space left"):
        while True:
            ballast.write(bytes(1 << 12))
    found = project.json("gc", env=home)
    assert found["kinds"]["packages"]["bytes"] > 1_000_000
    subprocess.run(["mount", "-o", "remount,size=500m", small_disk], check=True)
    assert project.json("register", "environment.yml", env=home)["status"] == "built"
