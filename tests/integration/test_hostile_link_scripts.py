"""A script that was allowed may write what it likes in the sandbox: nothing of this machine comes out by its links."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from envbuild.builder.lock import LockedPackage
from envbuild.builder.packing.link_scripts import run_link_scripts
from envbuild.builder.packing.package import Package
from envbuild.builder.sandbox.command import RootFilesystem
from envbuild.errors import PackageError
from envbuild.settings import Settings

SCRIPT = "bin/.evil-post-link.sh"
SECRET = "S3cret4711"


class Told:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def log(self, stage: str, text: str) -> None:
        self.lines.append(text)


def programs(tree: Path, *names: str) -> Path:
    """These programs of this machine, with the libraries that they load."""
    files = [Path("/usr/bin", name) for name in names]
    for name in names:
        done = subprocess.run(["ldd", f"/usr/bin/{name}"], capture_output=True, text=True, check=True)
        files += [Path(each) for each in re.findall(r"(/\S+) \(", done.stdout)]
    for file in files:
        target = tree / file.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    for name in ("bin", "proc", "dev", "tmp"):
        (tree / name).symlink_to("usr/bin") if name == "bin" else (tree / name).mkdir()
    return tree


def run(tmp_path: Path, script: str) -> tuple[Path, Told]:
    """Run `script` in a root of three programs, in which the prefix is made."""
    prefix, tree, told = tmp_path / "prefix", tmp_path / "tree", Told()
    (prefix / "opt/env/bin").mkdir(parents=True)
    (prefix / "opt/env" / SCRIPT).write_text(script)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/key").write_text(SECRET)
    tree.mkdir()
    locked = LockedPackage("conda", "evil", "1", "https://h.test/c/noarch/evil-1-0.conda", "0" * 64)
    package = Package(locked, tmp_path / "evil-1-0.conda", "conda", 0, (), link_scripts=(SCRIPT,))
    root = RootFilesystem((programs(tmp_path / "programs", "bash", "ln", "rm"), prefix))
    run_link_scripts([package], root, Settings(home=tmp_path / "home"), told, tree)  # type: ignore[arg-type]
    return tree, told


def test_a_message_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"\.messages\.txt, which is a link"):
        run(tmp_path, f'ln -s {tmp_path}/secrets/key "$PREFIX/.messages.txt"\n')


@pytest.mark.parametrize("place", ["/opt/env", "/opt"])
def test_a_prefix_that_is_a_link_is_not_followed(tmp_path: Path, place: str) -> None:
    (tmp_path / "elsewhere/env").mkdir(parents=True)
    (tmp_path / "elsewhere/env/key").write_text(SECRET)
    target = tmp_path / ("elsewhere" if place == "/opt" else "elsewhere/env")
    with pytest.raises(PackageError, match="replaces the folder"):
        run(tmp_path, f"rm -rf {place}\nln -s {target} {place}\n")
