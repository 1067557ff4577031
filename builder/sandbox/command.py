"""The `bwrap` command line for a root file system of layer trees."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .bubblewrap import Bubblewrap

MOUNT_OPTIONS = 4096
"""Bytes that mount(2) takes as options: a page. A longer list fails with a misleading "No such file or directory"."""


@dataclass(frozen=True)
class Mount:
    """A folder or file of this machine shown in the sandbox."""

    source: Path
    target: str
    writable: bool = False
    device: bool = False
    """Whether it is a device node, and is to work as one."""


@dataclass(frozen=True)
class RootFilesystem:
    """A root file system as the trees of its layers, the lowest first.

    A tree that comes twice, as from builders that write a layer for every step, stays in its higher place alone:
    the kernel overlays no folder twice, and what the lower one brings or hides, the higher one does.
    """

    trees: tuple[Path, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "trees", tuple(reversed(dict.fromkeys(reversed(self.trees)))))


def command(
    bwrap: Bubblewrap,
    root: RootFilesystem,
    *,
    env: Mapping[str, str],
    mounts: Sequence[Mount] = (),
    cwd: str = "/",
    network: bool = False,
    merged: Path | None = None,
    changes: Path | None = None,
    shm_size: int | None = None,
) -> list[str]:
    """The `bwrap` command line up to the command that is to run; nothing of the caller's environment goes in.

    `merged` is the folder of `merge_trees`, needed when `fits_overlay` says no. What is written to the root is lost,
    or caught in the folder `changes`, beside which a folder `work` is made. `shm_size` is in bytes.
    """
    line = [str(bwrap.path), "--unshare-user-try", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    line += ["--unshare-cgroup-try", "--die-with-parent", "--hostname", "envbuild", "--clearenv"]
    if not network:
        line.append("--unshare-net")
    line += _overlay(root, changes) if merged is None else _bound(merged)
    line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    if shm_size is not None:
        line += ["--size", str(shm_size), "--tmpfs", "/dev/shm"]
    if network:
        for file in ("/etc/resolv.conf", "/etc/hosts"):
            if Path(file).exists():
                line += ["--ro-bind", str(Path(file).resolve()), file]
    for mount in mounts:
        how = "--dev-bind" if mount.device else "--bind" if mount.writable else "--ro-bind"
        line += [how, str(mount.source), mount.target]
    for name, value in sorted(env.items()):
        line += ["--setenv", name, value]
    return [*line, "--chdir", cwd]


def fits_overlay(bwrap: Bubblewrap, root: RootFilesystem) -> bool:
    """Whether the trees can be mounted as they are: the options of one overlay mount fit in `MOUNT_OPTIONS`."""
    lower = ":".join(f"/oldroot{tree}" for tree in root.trees)
    fixed = "upperdir=/tmp-overlay-upper-0,workdir=/tmp-overlay-work-0,lowerdir=,userxattr"
    return bwrap.overlay and len(fixed) + len(lower) < MOUNT_OPTIONS


def _overlay(root: RootFilesystem, changes: Path | None) -> list[str]:
    sources = [part for tree in root.trees for part in ("--overlay-src", str(tree))]
    if changes is None:
        return [*sources, "--tmp-overlay", "/"]
    work = changes.with_name("work")
    work.mkdir(exist_ok=True)
    return [*sources, "--overlay", str(changes), str(work), "/"]


def _bound(merged: Path) -> list[str]:
    """A fresh root in memory with what is in `merged` bound into it: what can be done without an overlay.

    New entries can be made in the root and in the folders right below it, as with an overlay. What the image brings,
    `/usr` and all deeper folders cannot be written.
    """
    line = ["--tmpfs", "/"]
    for entry in sorted(merged.iterdir()):
        if entry.name in ("proc", "dev", "tmp"):
            continue
        if entry.is_dir() and not entry.is_symlink() and entry.name != "usr":
            line += ["--dir", f"/{entry.name}"]
            for each in sorted(entry.iterdir()):
                line += _shown(each, f"/{entry.name}/{each.name}")
        else:
            line += _shown(entry, f"/{entry.name}")
    return line


def _shown(entry: Path, place: str) -> list[str]:
    if entry.is_symlink():
        return ["--symlink", os.readlink(entry), place]
    if entry.is_dir() and not any(entry.iterdir()):
        return ["--dir", place]  # a home, /var/tmp, a mount point: bound read-only, it could take nothing
    return ["--ro-bind", str(entry), place]
