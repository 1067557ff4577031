"""The base for MPI jobs, from real Debian packages: complete, and it starts processes."""

import os
import subprocess
from pathlib import Path

import pytest
from harness import Project

from envbuild.builder.bases.base import Base, ensure_base
from envbuild.builder.channel.elf import is_elf, needed
from envbuild.builder.report import Silent
from envbuild.builder.sandbox.command import Mount, RootFilesystem
from envbuild.builder.sandbox.run import run_in_sandbox
from envbuild.settings import Settings

NAME = "debian12-openmpi"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    project = Project(tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("home"))
    assert project.json("base", "update", NAME, "--if-dropped")["name"] == NAME
    return ensure_base(NAME, Settings(home=project.home), Silent())


def run(base: Base, scratch: Path, script: str) -> "subprocess.CompletedProcess[bytes]":
    """Run `script` as a job would be: with a line for whoever runs it in /etc/passwd."""
    (scratch / "passwd").write_text(f"someone:x:{os.getuid()}:{os.getgid()}:someone:/tmp:/bin/bash\n")
    return run_in_sandbox(
        Settings(home=scratch),
        RootFilesystem((base.trees[0],)),
        ["bash", "-c", script],
        env={"PATH": "/usr/bin", "HOME": "/tmp"},
        mounts=[Mount(scratch / "passwd", "/etc/passwd")],
        scratch=scratch,
    )


def test_mpirun_starts_processes_and_they_know_their_rank(base: Base, tmp_path: Path) -> None:
    line = (
        "mpirun --allow-run-as-root --oversubscribe -n 2 bash -c 'echo $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE'"
    )
    done = run(base, tmp_path, line)
    assert sorted(done.stdout.decode().splitlines()) == ["0 of 2", "1 of 2"], done.stderr


def test_an_ssh_client_is_there(base: Base, tmp_path: Path) -> None:
    assert run(base, tmp_path, "ssh -V").stderr.startswith(b"OpenSSH_9")


def test_every_library_that_a_program_loads_is_in_the_base(base: Base) -> None:
    files = [path for path in base.trees[0].rglob("*") if is_elf(path)]
    libraries = {path.name for path in base.trees[0].rglob("*.so*")}
    missing = {(path.name, name) for path in files for name in needed(path) if name not in libraries}
    assert len(files) > 200
    assert {(program, name) for program, name in missing if program != "update-passwd"} == set()
