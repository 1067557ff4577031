"""bubblewrap itself: a root of two small trees, with this machine's /usr mounted in it."""

import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from harness import PATIENCE, wait_for

from envbuild.builder.sandbox import run
from envbuild.builder.sandbox.bubblewrap import Bubblewrap, find_bubblewrap
from envbuild.builder.sandbox.command import Mount, RootFilesystem
from envbuild.builder.sandbox.run import run_in_sandbox
from envbuild.errors import SandboxError
from envbuild.settings import Settings

USR = Mount(Path("/usr"), "/usr")
ENV = {"PATH": "/usr/bin"}


@pytest.fixture
def root(tmp_path: Path) -> RootFilesystem:
    base, top = tmp_path / "base", tmp_path / "top"
    for name in ("usr", "etc", "tmp", "proc", "dev"):
        (base / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (base / name).symlink_to(f"usr/{name}")
    (base / "etc/which").write_text("base\n")
    (top / "etc").mkdir(parents=True)
    (top / "etc/which").write_text("top\n")
    return RootFilesystem((base, top))


@pytest.fixture(params=["overlay", "merged"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Once with the trees as they are, once with the folder that an older bubblewrap needs."""
    found = find_bubblewrap(Settings(home=tmp_path))
    if request.param == "merged":
        old = Bubblewrap(found.path, (0, 8, 0), overlay=False)
        monkeypatch.setattr(run, "find_bubblewrap", lambda _: old)
    return Settings(home=tmp_path)


def shell(
    settings: Settings, root: RootFilesystem, script: str, mounts: Sequence[Mount] = (), **more: object
) -> tuple[int, str]:
    done = run_in_sandbox(
        settings, root, ["/bin/sh", "-c", script], scratch=settings.home / "scratch", mounts=[USR, *mounts], env=ENV,
        **more,  # type: ignore[arg-type]
    )  # fmt: skip
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def test_the_later_tree_is_on_top(settings: Settings, root: RootFilesystem) -> None:
    assert shell(settings, root, "cat /etc/which") == (0, "top\n")


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_exit_codes_are_exact(settings: Settings, root: RootFilesystem, code: int) -> None:
    assert shell(settings, root, f"exit {code}") == (code, "")


def test_what_is_written_goes_with_the_sandbox(settings: Settings, root: RootFilesystem) -> None:
    shell(settings, root, "echo changed > /etc/which; echo new > /etc/new; echo new > /tmp/new")
    assert shell(settings, root, "cat /etc/which; ls /etc /tmp") == (0, "top\n/etc:\nwhich\n\n/tmp:\n")
    assert (root.trees[1] / "etc/which").read_text() == "top\n"
    assert not (root.trees[0] / "etc/new").exists()


def test_only_the_given_environment_is_there(
    settings: Settings, root: RootFilesystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "1")
    code, output = shell(settings, root, "env")
    assert (code, "SECRET" in output, "PATH=/usr/bin" in output) == (0, False, True)


def test_without_network_loopback_is_all_there_is(settings: Settings, root: RootFilesystem) -> None:
    assert shell(settings, root, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '") == (0, "lo\n")


def test_a_mount_may_lie_in_an_empty_folder_of_the_image(settings: Settings, root: RootFilesystem) -> None:
    (root.trees[0] / "empty").mkdir()
    mount = Mount(root.trees[1] / "etc", "/empty/deep")
    assert shell(settings, root, "cat /empty/deep/which", mounts=[mount]) == (0, "top\n")


def test_input_reaches_the_command(settings: Settings, root: RootFilesystem) -> None:
    assert shell(settings, root, "cat", input=b"given") == (0, "given")


def test_a_command_that_is_not_there_is_an_error_not_an_exit_code(settings: Settings, root: RootFilesystem) -> None:
    with pytest.raises(SandboxError, match=r"/bin/absent could not be started in the sandbox: .*No such file"):
        run_in_sandbox(settings, root, ["/bin/absent"], scratch=settings.home / "scratch", mounts=[USR])


def test_processes_of_this_machine_are_not_seen(settings: Settings, root: RootFilesystem) -> None:
    code, output = shell(settings, root, "ls /proc")
    assert code == 0
    assert str(os.getpid()) not in output.split()


def test_nothing_is_left_of_a_sandbox_whose_owner_is_killed_at_any_moment(
    settings: Settings, root: RootFilesystem
) -> None:
    run_in_sandbox(settings, root, ["/bin/true"], scratch=settings.home / "scratch", mounts=[USR])  # a warm start
    for moment in range(60):
        command = ["/bin/sleep", f"{31000 + moment}.{os.getpid()}"]
        owner = os.fork()
        if owner == 0:
            try:
                run_in_sandbox(settings, root, command, scratch=settings.home / "scratch", mounts=[USR], env=ENV)
            finally:
                os._exit(1)
        time.sleep(moment / 1000)
        os.kill(owner, signal.SIGKILL)
        os.waitpid(owner, 0)
        wait_for(lambda command=command: processes_of(command) == [])  # type: ignore[misc]


def test_a_guard_that_is_killed_takes_the_sandbox_along(settings: Settings, root: RootFilesystem) -> None:
    command = ["/bin/sleep", f"32000.{os.getpid()}"]
    ended: list[int] = []
    caller = threading.Thread(target=lambda: ended.append(shell(settings, root, " ".join(command))[0]))
    caller.start()
    wait_for(lambda: has_begun(command))  # nobody ends what bubblewrap has not yet asked to end with it
    guard = next(child for child in psutil.Process().children() if "guard.py" in " ".join(child.cmdline()))
    guard.kill()
    caller.join(PATIENCE)
    assert ended == [-signal.SIGKILL]
    wait_for(lambda: processes_of(command) == [])


def has_begun(command: Sequence[str]) -> bool:
    """Whether `command` itself runs, and not only what is to start it."""
    lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return any(command[-1] in line and "--die-with-parent" not in line for line in lines)


def processes_of(command: Sequence[str]) -> list[int]:
    """The processes, of a sandbox or before it, that have `command` in their command line."""
    lines = {process.pid: " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])}
    return [pid for pid, line in lines.items() if command[-1] in line]
