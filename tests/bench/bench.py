"""How long a cold build of the example environment takes, against a peer and a physical floor, in one run.

    ours      packages downloaded -> runnable trees, compiled code and every diffID   (envbuild register, its stages)
    bare      ours, without compiling the noarch packages
    peer      the same packages   -> an installed prefix                              (py-rattler's own install)
    compiled  the peer, and compiling the noarch packages as conda does
    floor     reading and hashing the result                                          (tar cf - | openssl sha256)

Equal work is `bare / peer` and `ours / compiled`, but that ours hashes every byte of the result as well. The machine's
speed drifts, so all take turns and the medians' ratios count. Needs `make demo` to have run.
"""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEMO_HOME = ROOT / ".demo" / "home"
ROUNDS = 3
COMPARED = (("ours", "peer"), ("bare", "peer"), ("ours", "compiled"), ("ours", "floor"))
WITHOUT_COMPILING = """
import sys
from envbuild.builder.packing import pieces
from envbuild.cli.app import run
pieces.can_execute = lambda subdir: False  # as for an image of another platform
sys.exit(run(sys.argv[1:]))
"""


def main() -> None:
    lock = DEMO_HOME / "environments" / "pytorch-env" / "1" / "conda-lock.yml"
    if not lock.exists():
        sys.exit("the example environment is not there yet: make demo")
    seconds: dict[str, list[float]] = {"ours": [], "bare": [], "peer": [], "compiled": [], "floor": []}
    with tempfile.TemporaryDirectory(dir=ROOT / ".demo") as folder:
        for number in range(ROUNDS):
            work = Path(folder) / str(number)
            seconds["ours"].append(build(lock, work / "home", "-m", "envbuild"))
            seconds["bare"].append(build(lock, work / "bare", "-c", WITHOUT_COMPILING))
            installed, compiled = install(lock, work / "rattler")
            seconds["peer"].append(installed)
            seconds["compiled"].append(installed + compiled)
            seconds["floor"].append(tar_and_hash(work / "home"))
            shutil.rmtree(work)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        shown = " ".join(f"{value:.2f}" for value in values)
        print(f"{name:<9} median {medians[name]:.2f} s   ({shown})")
    for one, other in COMPARED:
        print(f"{one} / {other:<9} {medians[one] / medians[other]:.2f}")


def build(lock: Path, home: Path, *program: str) -> float:
    """Register the lock in a home that has the packages and the base, and nothing else; `program` is for Python."""
    home.mkdir(parents=True)
    for part in ("packages", "bases"):
        shutil.copytree(DEMO_HOME / part, home / part, copy_function=os.link)
    for record in (DEMO_HOME / "bases").glob("*/*/base.json"):
        tree = json.loads(record.read_text())["tree"]
        subprocess.run(["cp", "-a", "--link", DEMO_HOME / "trees" / tree, home], check=True)
        (home / "trees").mkdir(exist_ok=True)
        (home / tree).rename(home / "trees" / tree)
    done = subprocess.run(
        [sys.executable, *program, "register", lock, "--name", "bench", "--json"],
        env={**os.environ, "ENVBUILD_HOME": str(home)},
        capture_output=True,
        check=True,
    )
    stages = json.loads(done.stdout)["seconds"]
    return float(stages["plan"] + stages["pack"] + stages["image"])


def install(lock: Path, folder: Path) -> tuple[float, float]:
    """py-rattler's own install of the same packages, cold; then compiling what it leaves as source."""
    code = "import sys; from pathlib import Path; import bench; "
    code += "bench.rattler_install(Path(sys.argv[1]), Path(sys.argv[2]))"
    done = subprocess.run(
        [sys.executable, "-c", code, lock, folder], cwd=Path(__file__).parent, capture_output=True, check=True
    )
    prefix = folder / "prefix"
    noarch = [
        prefix / file.partition("/")[0] if not file.startswith("lib/") else prefix / file
        for meta in (prefix / "conda-meta").glob("*.json")
        for record in [json.loads(meta.read_text())]
        if record["subdir"] == "noarch"
        for file in record["files"]
        if file.endswith(".py") and "/tests/" not in file and "/test/" not in file
    ]
    begin = time.perf_counter()
    subprocess.run(
        [
            prefix / "bin/python",
            "-m",
            "compileall",
            "-q",
            "-j",
            "2",
            "--invalidation-mode",
            "unchecked-hash",
            "-i",
            "-",
        ],
        input="\n".join(map(str, noarch)),
        text=True,
        capture_output=True,
        check=False,
    )
    return float(done.stdout.split()[-1]), time.perf_counter() - begin


def rattler_install(lock: Path, folder: Path) -> None:
    """Runs in a process of its own; prints the seconds of the installation alone."""
    import rattler

    from envbuild.builder.lock import read_lock

    async def go() -> float:
        locked = read_lock(lock)
        gateway = rattler.Gateway(cache_dir=folder / "repodata")
        names = [package.name for package in locked.packages]
        channels = sorted({package.url.rsplit("/", 2)[0] for package in locked.packages})
        platforms = [rattler.Subdir("linux-64"), rattler.Subdir("noarch")]
        answers = await gateway.query(channels, platforms, names, recursive=False)
        wanted = {package.sha256 for package in locked.packages}
        records = [record for answer in answers for record in answer if record.sha256 and record.sha256.hex() in wanted]
        assert len(records) == len(wanted), "the channel has changed since make demo"
        begin = time.perf_counter()
        await rattler.install(
            records, folder / "prefix", cache_dir=folder / "cache", show_progress=False, platform=platforms[0]
        )
        return time.perf_counter() - begin

    print(asyncio.run(go()), flush=True)
    os._exit(0)  # rattler's threads may still be ending: a normal exit sometimes aborts


def tar_and_hash(home: Path) -> float:
    """The floor: read the result once and hash it."""
    begin = time.perf_counter()
    subprocess.run("tar cf - trees | openssl sha256", shell=True, cwd=home, check=True, capture_output=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
