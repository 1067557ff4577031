"""The bubblewrap command line, the merged folder, and what bubblewrap's status lines mean."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envbuild.builder.sandbox import guard
from envbuild.builder.sandbox.bubblewrap import Bubblewrap, find_bubblewrap
from envbuild.builder.sandbox.command import Mount, RootFilesystem, command, fits_overlay
from envbuild.builder.sandbox.merge import merge_trees, merged_folder
from envbuild.builder.sandbox.run import exit_code
from envbuild.errors import SandboxError
from envbuild.settings import Settings

NEW = Bubblewrap(Path("/opt/bwrap"), (0, 11, 0), overlay=True)
OLD = Bubblewrap(Path("/usr/bin/bwrap"), (0, 8, 0), overlay=False)
ROOT = RootFilesystem((Path("/trees/base"), Path("/trees/numpy")))


def after(line: list[str], option: str, count: int) -> list[list[str]]:
    return [line[at + 1 : at + 1 + count] for at, part in enumerate(line) if part == option]


def test_the_trees_are_stacked_lowest_first() -> None:
    line = command(NEW, ROOT, env={})
    assert after(line, "--overlay-src", 1) == [["/trees/base"], ["/trees/numpy"]]
    assert after(line, "--tmp-overlay", 1) == [["/"]]


def test_nothing_of_the_caller_s_environment_goes_in() -> None:
    line = command(NEW, ROOT, env={"B": "2", "A": "1"})
    assert "--clearenv" in line
    assert after(line, "--setenv", 2) == [["A", "1"], ["B", "2"]]


def test_the_sandbox_ends_with_us() -> None:
    assert {"--die-with-parent", "--unshare-pid"} <= set(command(NEW, ROOT, env={}))


def test_without_network_the_namespace_is_its_own() -> None:
    assert "--unshare-net" in command(NEW, ROOT, env={})
    assert "--unshare-net" not in command(NEW, ROOT, env={}, network=True)


def test_a_mount_is_read_only_unless_it_says_otherwise() -> None:
    line = command(NEW, ROOT, env={}, mounts=[Mount(Path("/a"), "/x"), Mount(Path("/b"), "/y", writable=True)])
    assert after(line, "--ro-bind", 2) == [["/a", "/x"]]
    assert after(line, "--bind", 2) == [["/b", "/y"]]


def test_shared_memory_has_the_size_asked_for() -> None:
    line = command(NEW, ROOT, env={}, shm_size=1024)
    at = line.index("/dev/shm")
    assert line[at - 3 : at + 1] == ["--size", "1024", "--tmpfs", "/dev/shm"]


def test_an_old_bubblewrap_needs_the_merged_folder() -> None:
    assert fits_overlay(NEW, ROOT)
    assert not fits_overlay(OLD, ROOT)


def test_more_than_a_page_of_mount_options_does_not_fit() -> None:
    assert fits_overlay(NEW, RootFilesystem(tuple(Path(f"/t/{number:026}") for number in range(100))))
    assert not fits_overlay(NEW, RootFilesystem(tuple(Path(f"/t/{number:026}") for number in range(120))))


def test_a_tree_that_comes_twice_is_mounted_once_in_its_higher_place() -> None:
    base, empty, tools = Path("/trees/base"), Path("/trees/empty"), Path("/trees/tools")
    line = command(NEW, RootFilesystem((base, empty, tools, empty)), env={})
    assert after(line, "--overlay-src", 1) == [["/trees/base"], ["/trees/tools"], ["/trees/empty"]]


def test_a_merged_root_binds_folders_and_repeats_links(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "mnt").mkdir()
    (tmp_path / "bin").symlink_to("usr/bin")
    line = command(OLD, ROOT, env={}, merged=tmp_path)
    assert "--overlay-src" not in line
    assert after(line, "--symlink", 2) == [["usr/bin", "/bin"]]
    assert after(line, "--ro-bind", 2) == [[str(tmp_path / "usr"), "/usr"]]
    assert after(line, "--dir", 1) == [["/mnt"]]


def test_of_two_equal_paths_the_later_tree_s_stays(tmp_path: Path) -> None:
    for name, content in (("one", "1"), ("two", "2")):
        (tmp_path / name / "etc").mkdir(parents=True)
        (tmp_path / name / "etc/both").write_text(content)
        (tmp_path / name / f"etc/{name}").write_text(content)
    (tmp_path / "merged").mkdir()
    merge_trees([tmp_path / "one", tmp_path / "two"], tmp_path / "merged")
    assert {file.name: file.read_text() for file in (tmp_path / "merged/etc").iterdir()} == {
        "both": "2", "one": "1", "two": "2",
    }  # fmt: skip
    assert (tmp_path / "one/etc/both").read_text() == "1"


def test_a_merged_folder_is_made_once(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("1")
    root = RootFilesystem((tmp_path / "tree",))
    first = merged_folder(root, tmp_path / "scratch")
    inode = (first / "file").stat().st_ino
    assert merged_folder(root, tmp_path / "scratch") == first
    assert inode == (tmp_path / "tree/file").stat().st_ino


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (b'{"child-pid": 7}\n{"exit-code": 1}\n', 1),
        (b'{"child-pid": 7}\n{"exit-code": 0}\n', 0),
        (b'{"child-pid": 7}\n', None),
        (b'{"child-pid": 7}\n{"exit-co', None),
        (b"", None),
    ],
)
def test_only_an_exit_code_line_proves_that_the_command_ran(status: bytes, code: int | None) -> None:
    assert exit_code(status) == code


def test_no_mount_that_may_go_meanwhile_is_taken_into_the_probe(tmp_path: Path) -> None:
    """Of all of `/` every container's mounts would be a part."""
    program, asked = tmp_path / "bwrap", tmp_path / "asked"
    program.write_text(f'#!/bin/sh\necho "$@" >>{asked}\necho bubblewrap 0.11.0\n')
    program.chmod(0o755)
    assert find_bubblewrap(Settings(home=tmp_path, bwrap=str(program))).overlay
    lines = asked.read_text().splitlines()
    assert len(lines) == 3
    assert [word for line in lines for word in line.split() if word in ("/", str(tmp_path))] == []


def test_a_bubblewrap_that_does_not_work_is_named(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"/absent/bwrap: No such file or directory.*Install bubblewrap"):
        find_bubblewrap(Settings(home=tmp_path, bwrap="/absent/bwrap"))


def test_the_guard_sees_its_sandbox_end_where_whoever_started_us_ignores_children() -> None:
    """An ignored SIGCHLD is inherited by all programs below: no child can be waited for then, and none is announced."""
    line = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), "0", "", "/bin/sh", "-c", "exit 3"]
    with subprocess.Popen(line, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)) as process:
        try:
            assert process.wait(timeout=300) == 3
        finally:
            process.kill()
