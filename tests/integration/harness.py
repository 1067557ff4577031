"""A project folder and the real command line started in it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Project:
    """A project folder with a home of its own, and the command line started in it."""

    folder: Path
    home: Path

    def envbuild(self, *line: str | Path, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """Run `envbuild` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "envbuild", *map(str, line)],
            cwd=self.folder,
            env={**os.environ, "ENVBUILD_HOME": str(self.home), **(env or {})},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def json(self, *line: str | Path, env: Mapping[str, str] | None = None) -> Any:
        """Run `envbuild ... --json`, which must succeed, and return its document."""
        done = self.envbuild(*line, "--json", env=env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


def need(program: str) -> str:
    """The path of `program`, or skip; with CI=true as root nothing may be missing."""
    path = shutil.which(program)
    if path is None:
        reason = f"{program} is not installed (.ci/debian-packages installs it as root)"
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    return path
