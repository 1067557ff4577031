"""How long 1,000 registered versions take to be listed: with no index, with it, after one more, and by the command.

make bench-versions        (after make demo; or: python tests/bench/versions.py NUMBER)

Every version is the demo's own record, with another number and other digests.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from envbuild.errors import EnvbuildError
from envbuild.registry.environments import Environment, load
from envbuild.registry.index import RECORD, list_versions
from envbuild.settings import load_settings

NAMES = 20
TURNS = 5


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    try:
        pattern = load(load_settings().home, "pytorch-env")
    except EnvbuildError as error:
        sys.exit(f"{error} (make demo registers it)")
    with tempfile.TemporaryDirectory(prefix="envbuild-bench-") as folder:
        home = Path(folder)
        for position in range(number):
            write_version(home, position, pattern)
        size = sum(file.stat().st_size for file in home.glob(f"environments/*/*/{RECORD}"))
        print(f"{number} versions of {NAMES} environments, {size / number:.0f} bytes a record")
        index = home / "cache" / "environments.json"
        report("list_versions, no index", lambda: list_versions(home), before=lambda: index.unlink(missing_ok=True))
        report("list_versions, index", lambda: list_versions(home))
        more = iter(range(number, number + TURNS))
        report(
            "list_versions, one more",
            lambda: list_versions(home),
            before=lambda: write_version(home, next(more), pattern),
        )
        report("envbuild env list", lambda: command(home, "env", "list"))
        report("envbuild env show", lambda: command(home, "env", "show", "environment-0"))
        assert len(list_versions(home).entries) == number + TURNS


def write_version(home: Path, position: int, pattern: Environment) -> None:
    """One version more, in one of the names."""
    name, version = f"environment-{position % NAMES}", position // NAMES + 1
    record = json.loads((pattern.folder / RECORD).read_bytes())
    record |= {"name": name, "version": version}
    record |= {"environment_id": f"sha256:{position:064x}", "spec_key": f"sha256:{position:064x}"}
    record["image"]["digest"] = f"sha256:{position:064x}"
    folder = home / "environments" / name / str(version)
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True))


def command(home: Path, *line: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "envbuild", *line],
        env={**os.environ, "ENVBUILD_HOME": str(home)}, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip


def report(what: str, action: Callable[[], object], before: Callable[[], object] = lambda: None) -> None:
    """Print the shortest time of a few turns."""
    seconds = []
    for _ in range(TURNS):
        before()
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    print(f"{what:<26} {min(seconds):6.3f} s")


if __name__ == "__main__":
    main()
