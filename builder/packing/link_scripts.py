"""Scripts that packages want to run after they are installed, for the packages that the user has allowed.

conda clients run `bin/.NAME-post-link.sh` after a package is linked (conda-build's documentation, "Link scripts").
The result is no function of the package, so a script is refused unless its package is named. Then it runs here: inside
the sandbox, without network, in the finished environment, after those of the packages that it needs. What it writes
below the prefix becomes a layer of its own, and the image says that it cannot be made again bit for bit.
"""

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from envbuild.errors import PackageError
from envbuild.settings import Settings

from .. import atomic
from ..plan import PREFIX
from ..report import Reporter
from ..sandbox.command import RootFilesystem
from ..sandbox.run import run_in_sandbox
from .package import Package, checked_link

_TIME = 315532800
"""1980-01-01, for every file that a script makes: when it ran says nothing."""
_MESSAGES = ".messages.txt"
"""What a script wants the user to read (conda-build's documentation)."""


def run_link_scripts(
    packages: Sequence[Package], root: RootFilesystem, settings: Settings, reporter: Reporter, tree: Path
) -> None:
    """Run the post-link scripts of `packages` in `root`, and write what they made into the empty folder `tree`.

    Raises:
        PackageError: a script fails, removes a file, or leaves what no layer can hold.
        SandboxError: no sandbox with overlays is usable.
    """
    with atomic.scratch_folder(settings.home / "scratch") as scratch:
        changes = scratch / "changes"
        (changes / PREFIX.lstrip("/")).mkdir(parents=True)
        for package in _dependencies_first(packages):
            for script in package.link_scripts:
                _run(package, script, root, settings, reporter, changes)
        _keep(changes / PREFIX.lstrip("/"), tree / PREFIX.lstrip("/"), reporter)
        for folder, _, _ in os.walk(tree):
            os.chmod(folder, 0o755)


def _run(
    package: Package, script: str, root: RootFilesystem, settings: Settings, reporter: Reporter, changes: Path
) -> None:
    locked = package.locked
    done = run_in_sandbox(
        settings,
        root,
        ["/bin/bash", f"{PREFIX}/{script}"],
        env={
            "PREFIX": PREFIX,
            "ROOT_PREFIX": PREFIX,
            "CONDA_PREFIX": PREFIX,
            "PKG_NAME": locked.name,
            "PKG_VERSION": locked.version,
            "PKG_BUILDNUM": str(package.build_number),
            "PATH": f"{PREFIX}/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": "/tmp",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
        },
        scratch=settings.home / "scratch",
        changes=changes,
    )
    for line in (done.stdout + done.stderr).decode(errors="replace").splitlines():
        reporter.log("scripts", f"{locked.name}: {line}")
    _refuse_replaced_prefix(changes)
    messages = changes / PREFIX.lstrip("/") / _MESSAGES
    if messages.is_symlink():
        raise PackageError(f"the script {script} of {locked.filename} makes {_MESSAGES}, which is a link; refused")
    if messages.is_file():
        reporter.say(f"{locked.name} says: {messages.read_text(errors='replace').strip()}")
        messages.unlink()
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise PackageError(f"the script {script} of {locked.filename} ended with {done.returncode}: {last}")


def _dependencies_first(packages: Sequence[Package]) -> list[Package]:
    """`packages` in an order in which each comes after what it needs; ties by name."""
    by_name = {package.locked.name: package for package in sorted(packages, key=lambda each: each.locked.name)}
    ordered: dict[str, Package] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name not in by_name or name in ordered or name in above:
            return
        for needed in sorted(by_name[name].locked.depends):
            visit(needed, (*above, name))
        ordered[name] = by_name[name]

    for name in by_name:
        visit(name, ())
    return list(ordered.values())


def _keep(source: Path, target: Path, reporter: Reporter) -> None:
    """Copy what the overlay has caught below the prefix, with the modes and times of a piece."""
    for folder, folders, names in os.walk(source):
        relative = os.path.relpath(folder, source)
        (target / relative).mkdir(parents=True, exist_ok=True)
        _refuse_replaced(Path(folder), relative)
        for name in sorted((*names, *(each for each in folders if os.path.islink(f"{folder}/{each}")))):
            path = os.path.normpath(f"{relative}/{name}")
            _copy(source / path, target / path, path)
            reporter.log("scripts", f"made {path}")


def _copy(source: Path, target: Path, path: str) -> None:
    status = source.lstat()
    if stat.S_ISLNK(status.st_mode):
        target.symlink_to(checked_link(path, os.readlink(source), "a link script"))
    elif stat.S_ISREG(status.st_mode):
        shutil.copyfile(source, target)
        target.chmod(0o755 if status.st_mode & 0o100 else 0o644)
        os.utime(target, (_TIME, _TIME))
    elif stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:  # how overlayfs notes that a file was removed
        raise PackageError(
            f"a link script removes {path}, which another layer holds; a layer above cannot take it away"
        )
    else:
        raise PackageError(f"a link script makes {path}, which is neither a file, a folder nor a link; refused")


def _refuse_replaced_prefix(changes: Path) -> None:
    """What is read below must lie in the overlay: a link that a script leaves there would mean this machine's files."""
    folder = changes
    for part in PREFIX.strip("/").split("/"):
        folder = folder / part
        if folder.is_symlink() or not folder.is_dir():
            raise PackageError(f"a link script replaces the folder /{folder.relative_to(changes)}; refused")


def _refuse_replaced(folder: Path, path: str) -> None:
    """A folder that was removed and made anew hides what the layers below have in it (overlayfs: opaque)."""
    for name in ("user.overlay.opaque", "trusted.overlay.opaque"):
        try:
            opaque = os.getxattr(folder, name) == b"y"
        except OSError:
            continue
        if opaque:
            raise PackageError(f"a link script replaces the folder {path}, which another layer holds; refused")
