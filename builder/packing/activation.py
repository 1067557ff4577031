"""What activating the environment would export, found once at build time.

Conda packages may bring scripts in `etc/conda/activate.d` that set variables (compilers, GDAL, CUDA). A container is
never activated, so the scripts are run once, in the sandbox, and what they export is written into the image's config:
then `docker exec`, another entrypoint and another user all see an active environment.
"""

from collections.abc import Sequence

from envbuild.errors import PackageError
from envbuild.settings import Settings

from ..plan import PREFIX
from ..report import Reporter
from ..sandbox.command import RootFilesystem
from ..sandbox.run import run_in_sandbox
from .package import Package

ACTIVATION_SCRIPTS = "etc/conda/activate.d/"
_IGNORED = {"_", "PWD", "OLDPWD", "SHLVL"}
_SCRIPT = 'for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do . "$script" >&2; done; env -0'
_BEFORE = {"CONDA_PREFIX": PREFIX, "PATH": f"{PREFIX}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp"}


def activation_variables(
    packages: Sequence[Package], root: RootFilesystem, settings: Settings, reporter: Reporter
) -> dict[str, str]:
    """The variables that the packages' activation scripts set or change; empty when there are no scripts.

    Raises:
        PackageError: a script fails.
        SandboxError: there are scripts, and no sandbox is usable.
    """
    scripts = [path.path for package in packages for path in package.paths if path.path.startswith(ACTIVATION_SCRIPTS)]
    if not any(script.endswith(".sh") for script in scripts):
        return {}
    done = run_in_sandbox(
        settings, root, ["/bin/bash", "-e", "-c", _SCRIPT], env=_BEFORE, scratch=settings.home / "scratch"
    )
    if done.returncode:
        raise PackageError(
            f"an activation script of the environment failed: {done.stderr.decode(errors='replace').strip()[-500:]}"
        )
    pairs = (item.split("=", 1) for item in done.stdout.decode(errors="replace").split("\0") if "=" in item)
    after = {name: value for name, value in pairs if name not in _IGNORED and _BEFORE.get(name) != value}
    for name, value in sorted(after.items()):
        reporter.log("image", f"activation sets {name}={value}")
    return after
