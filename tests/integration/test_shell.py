"""`envbuild shell`: a prompt on a real terminal, and commands for scripts."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from engines import Daemon
from harness import PATIENCE, Project

from envbuild.builder.publish.engine import Engine, find_engine
from envbuild.trainer.targets.container import watched_containers

if TYPE_CHECKING:
    from docker.models.containers import Container


def test_a_command_runs_in_the_project_folder_and_its_exit_code_is_passed_on(project: Project) -> None:
    project.json("register", "environment.yml")
    project.write("given.txt", "given\n")
    done = project.envbuild("shell", "small", "-c", "cat given.txt; which python; echo made > made.txt; exit 7")
    assert (done.returncode, done.stdout) == (7, "given\n/opt/env/bin/python\n")
    assert (project.folder / "made.txt").read_text() == "made\n"


def test_without_a_name_it_is_the_projects_environment_said_aloud(project: Project) -> None:
    project.json("register", "environment.yml")
    done = project.envbuild("shell", "--no-network", "-c", "true")
    assert (done.returncode, done.stderr) == (0, "environment small:1 (the last one registered in this project)\n")


def test_a_terminal_shows_a_prompt_and_takes_input(project: Project) -> None:
    project.json("register", "environment.yml")
    use_prompt(project)


def test_ctrl_c_is_for_the_program_of_a_command_at_a_terminal(project: Project) -> None:
    project.json("register", "environment.yml")
    ours, theirs = pty.openpty()
    process = start_shell(project, theirs, "-c", "python -q; exit $(($? + 1))")
    read_until(ours, b">>> ")
    ask_until(ours, b"\x03", b"KeyboardInterrupt")  # one that comes as the prompt is drawn waits for the next key
    os.write(ours, b"print('still', 6 * 7); exit(4)\n")
    shown = read_until(ours, b"still 42")
    assert process.wait(PATIENCE) == 5, shown
    os.close(theirs)
    os.close(ours)


def test_a_signal_to_us_reaches_the_command_in_the_sandbox(project: Project) -> None:
    project.json("register", "environment.yml")
    line = "trap 'echo asked; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    process = project.start("shell", "small", "-c", line)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.stdout.read() == "asked\n" and process.wait(PATIENCE) == 9


def test_an_interrupt_to_us_alone_reaches_the_command_in_the_sandbox(project: Project) -> None:
    project.json("register", "environment.yml")
    detached = Project(project.folder, project.home, before=["setsid"])  # no terminal whose Ctrl-C it might be
    line = "trap 'echo asked; exit 9' INT; echo ready; while :; do sleep 0.1; done"
    process = detached.start("shell", "small", "-c", line)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.read() == "asked\n" and process.wait(PATIENCE) == 9


def test_without_a_terminal_the_shell_reads_its_commands_and_shows_no_prompt(project: Project) -> None:
    project.json("register", "environment.yml")
    done = subprocess.run(
        [sys.executable, "-m", "envbuild", "shell", "small"], cwd=project.folder,
        env={**os.environ, "ENVBUILD_HOME": str(project.home)},
        input="which python\nexit 4\n", capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (4, "/opt/env/bin/python\n", "")


def test_a_command_in_the_sandbox_that_does_not_end_when_asked_is_killed(project: Project) -> None:
    project.json("register", "environment.yml")
    process = project.start("shell", "small", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.wait(PATIENCE) == 128 + signal.SIGKILL


@pytest.fixture(params=["docker", "podman"])
def engine(request: pytest.FixtureRequest, registered: Project) -> Engine:
    """An engine that the project's target `docker` is; our containers in it are gone when the test ends."""
    daemon: Daemon = request.getfixturevalue(f"{request.param}_engine")
    settings = (registered.folder / "envbuild.toml").read_text()
    registered.write(
        "envbuild.toml",
        f'{settings}[targets.docker]\ntype = "docker"\nhost = "{daemon.host}"\nnetwork = "host"\n',
    )
    return find_engine(daemon.host)


def containers_of(engine: Engine, folder: Path) -> "list[Container]":
    """Those that have `folder` mounted: other tests use the engine too."""
    return [each for each in watched_containers(engine) if str(folder) in json.dumps(each.attrs)]


def test_a_container_runs_a_command_as_the_sandbox_does(registered: Project, engine: Engine) -> None:
    registered.write("given.txt", "given\n")
    line = "cat given.txt; which python; echo made > made.txt; wc -c; echo complaint >&2; exit 7"
    done = subprocess.run(
        [sys.executable, "-m", "envbuild", "shell", "small", "--target", "docker", "-c", line],
        cwd=registered.folder, env={**os.environ, "ENVBUILD_HOME": str(registered.home)},
        input="x" * 300_000, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (7, "given\n/opt/env/bin/python\n300000\n")
    assert done.stderr.endswith("complaint\n")
    assert (registered.folder / "made.txt").read_text() == "made\n"
    assert (registered.folder / "made.txt").stat().st_uid == os.getuid()
    assert containers_of(engine, registered.folder) == []


def test_a_container_s_prompt_is_one_on_this_terminal(registered: Project, engine: Engine) -> None:
    use_prompt(registered, "--target", "docker")
    assert containers_of(engine, registered.folder) == []


def test_a_terminal_that_hangs_up_ends_a_container_s_prompt(registered: Project, engine: Engine) -> None:
    ours, theirs = pty.openpty()
    said = registered.folder / "said.txt"
    process = start_shell(registered, theirs, "--target", "docker", said=said)
    read_until(ours, b"/envbuild/project# ", b"/envbuild/project$ ")
    os.close(theirs)
    os.close(ours)
    process.wait(PATIENCE)
    assert "Traceback" not in said.read_text()
    assert containers_of(engine, registered.folder) == []


def test_a_signal_to_us_reaches_the_command_in_the_container(registered: Project, engine: Engine) -> None:
    line = "trap 'echo asked; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    process = registered.start("shell", "small", "--target", "docker", "-c", line)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert len(containers_of(engine, registered.folder)) == 1
    process.terminate()
    assert process.stdout.read() == "asked\n" and process.wait(PATIENCE) == 9
    assert containers_of(engine, registered.folder) == []


def test_a_signal_reaches_a_command_that_reads_none_of_its_input(registered: Project, engine: Engine) -> None:
    line = "trap 'echo asked; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
        process = pipe_shell(registered, line, endless.stdout)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(3)  # until nothing more fits on the way to the container; fewer would only make this an easier case
        process.terminate()
        try:
            assert process.stdout.read() == b"asked\n" and process.wait(PATIENCE) == 9
        finally:
            endless.kill()


def test_a_command_whose_output_nobody_reads_any_more_ends(registered: Project, engine: Engine) -> None:
    process = pipe_shell(registered, "yes", subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    assert process.wait(PATIENCE) == 128 + signal.SIGPIPE
    assert containers_of(engine, registered.folder) == []


def pipe_shell(project: Project, line: str, given: IO[bytes] | int | None) -> "subprocess.Popen[bytes]":
    """`line` in a container, with `given` as its input and a pipe as its output."""
    return subprocess.Popen(
        [sys.executable, "-m", "envbuild", "shell", "small", "--target", "docker", "-c", line], cwd=project.folder,
        env={**os.environ, "ENVBUILD_HOME": str(project.home)}, stdin=given, stdout=subprocess.PIPE,
    )  # fmt: skip


def left_there(container: "Container") -> bool:
    from docker.errors import NotFound

    try:
        container.reload()
    except NotFound:
        return False
    return True


def test_what_a_killed_shell_left_is_collected(registered: Project, engine: Engine) -> None:
    process = registered.start("shell", "small", "--target", "docker", "-c", "echo ready; sleep 300")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    (left,) = containers_of(engine, registered.folder)
    mine = {"container": left.short_id, "run_id": "", "engine": engine.host}
    assert mine not in registered.json("gc")["containers"]  # its supervisor is there
    process.kill()
    process.communicate()
    if mine in registered.json("gc", "--dry-run")["containers"] and containers_of(engine, registered.folder):
        said = registered.envbuild("gc").stdout
        assert f"removed the container {left.short_id} that a shell left at {engine.host}" in said or not left_there(
            left
        )
    # else a job of another test, which shares the engine, has collected it before us
    assert containers_of(engine, registered.folder) == []


def start_shell(project: Project, terminal: int, *more: str, said: Path | None = None) -> "subprocess.Popen[bytes]":
    """`envbuild shell` with `terminal` as its controlling terminal; its complaints go there too, or into `said`."""
    with said.open("wb") if said else nullcontext(terminal) as complaints:
        return subprocess.Popen(
            [sys.executable, "-m", "envbuild", "shell", "small", *more], cwd=project.folder,
            env={**os.environ, "ENVBUILD_HOME": str(project.home), "TERM": "dumb"},
            stdin=terminal, stdout=terminal, stderr=complaints, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip


def use_prompt(project: Project, *more: str) -> None:
    """Use a prompt as people do, and leave it with 5."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    before = termios.tcgetattr(theirs)
    process = start_shell(project, theirs, *more)
    shown = read_until(ours, b"(small:1) /envbuild/project# ", b"(small:1) /envbuild/project$ ")
    ask_until(ours, b"stty size\n", b"31 97")  # an engine may hear of the size a moment later
    os.write(ours, b"test -t 0 && echo a $((40 + 2)) terminal\n")
    shown = read_until(ours, b"a 42 terminal")
    os.write(ours, b"sh -c 'echo begun $((40 + 4)); exec sleep 600'\n")
    read_until(ours, b"begun 44")  # the terminal is this job's now
    os.write(ours, b"\x03")  # Ctrl-C ends the sleep and not the shell
    read_until(ours, b"/envbuild/project# ", b"/envbuild/project$ ")
    os.write(ours, b"echo still $((40 + 3)); exit 5\n")
    read_until(ours, b"still 43")
    assert process.wait(PATIENCE) == 5, shown
    assert termios.tcgetattr(theirs) == before
    os.close(theirs)
    os.close(ours)


def ask_until(terminal: int, keys: bytes, wanted: bytes) -> None:
    """Press `keys` again every few seconds until `wanted` is shown."""
    for _ in range(60):
        os.write(terminal, keys)
        with suppress(AssertionError):
            read_until(terminal, wanted, seconds=5)
            return
    raise AssertionError(f"{wanted!r} was never shown")


def read_until(terminal: int, *wanted: bytes, seconds: float = PATIENCE) -> bytes:
    shown = b""
    deadline = time.monotonic() + seconds
    while not any(each in shown for each in wanted):
        assert time.monotonic() < deadline, shown.decode(errors="replace")
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 4096)
    return shown
