"""bubblewrap itself: a root of two small trees, with this machine's /usr mounted in it."""

import os
from pathlib import Path

import pytest

from envbuild.builder import sandbox
from envbuild.builder.sandbox import Bubblewrap, Mount, RootFilesystem, run_in_sandbox
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
    found = sandbox.find_bubblewrap(Settings(home=tmp_path))
    if request.param == "merged":
        old = Bubblewrap(found.path, (0, 8, 0), overlay=False)
        monkeypatch.setattr(sandbox, "find_bubblewrap", lambda _: old)
    return Settings(home=tmp_path)


def shell(settings: Settings, root: RootFilesystem, script: str, **more: object) -> tuple[int, str]:
    done = run_in_sandbox(
        settings, root, ["/bin/sh", "-c", script], scratch=settings.home / "scratch", mounts=[USR], env=ENV,
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


def test_input_reaches_the_command(settings: Settings, root: RootFilesystem) -> None:
    assert shell(settings, root, "cat", input=b"given") == (0, "given")


def test_a_command_that_is_not_there_is_an_error_not_an_exit_code(settings: Settings, root: RootFilesystem) -> None:
    with pytest.raises(SandboxError, match=r"/bin/absent could not be started in the sandbox: .*No such file"):
        run_in_sandbox(settings, root, ["/bin/absent"], scratch=settings.home / "scratch", mounts=[USR])


def test_processes_of_this_machine_are_not_seen(settings: Settings, root: RootFilesystem) -> None:
    code, output = shell(settings, root, "ls /proc")
    assert code == 0
    assert str(os.getpid()) not in output.split()
