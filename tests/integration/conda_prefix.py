"""A real conda environment, as conda would have left it."""

import asyncio
import subprocess
from pathlib import Path

import rattler

MACHINES = [
    rattler.GenericVirtualPackage(rattler.PackageName(name), rattler.Version(version), rattler.BuildString("0"))
    for name, version in (("__glibc", "2.36"), ("__unix", "0"), ("__linux", "5.10"))
]


def solved(channel: Path, *specs: str) -> list[rattler.RepoDataRecord]:
    return asyncio.run(
        rattler.solve(
            [channel.as_uri()],
            list(specs),
            platforms=[rattler.Subdir("linux-64"), rattler.Subdir("noarch")],
            virtual_packages=MACHINES,
        )
    )


def make_conda_prefix(channel: Path, folder: Path) -> Path:
    """Python, jinja2 and pip from the channel, six by pip, and a variable."""
    records = solved(channel, "python=3.11", "jinja2", "pip")
    asyncio.run(rattler.install(records, target_prefix=folder, show_progress=False))
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--root-user-action=ignore", "six==1.16.0"]
    subprocess.run(pip, check=True)
    (folder / "conda-meta/state").write_text('{"env_vars": {"OMP_NUM_THREADS": "4"}, "version": 1}')
    return folder
