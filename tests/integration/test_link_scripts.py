"""Packages that want to run a script at installation: refused by name, or run in the sandbox and told of."""

import asyncio
import json
from pathlib import Path

import pytest
from harness import Project

from envbuild.builder.channel.conda_package import Package, write_package


def pack(folder: Path, name: str, script: str, kind: str = "post-link", depends: tuple[str, ...] = ()) -> None:
    """A package with one file and one script, in the channel `folder`."""
    tree = folder / f"{name}-tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "share").mkdir()
    (tree / f"bin/.{name}-{kind}.sh").write_text(script)
    (tree / f"share/{name}.txt").write_text(name)
    write_package(Package(name, "1.0", "0", "noarch", depends, noarch="generic"), tree, folder / "channel", int)


@pytest.fixture
def with_scripts(project: Project, channel: Path) -> Project:
    from rattler.index import index_fs

    folder = project.folder
    pack(
        folder,
        "greeter",
        'set -e\ntest "$PREFIX" = /opt/env\ncat "$PREFIX/share/lister.txt" > /dev/null\n'
        'echo "$PKG_NAME $PKG_VERSION" > "$PREFIX/share/made.txt"\nchmod 700 "$PREFIX/share/made.txt"\n'
        'cat "$PREFIX/share/listed.txt" >> "$PREFIX/share/made.txt"\nln -s made.txt "$PREFIX/share/link"\n'
        'echo "read the manual" >> "$PREFIX/.messages.txt"\necho outside > /etc/outside\n',
        depends=("lister",),
    )
    pack(folder, "lister", 'ls "$PREFIX/share" > "$PREFIX/share/listed.txt"\n')
    pack(folder, "failer", 'echo "no such luck" >&2\nexit 3\n')
    pack(folder, "remover", 'rm "$PREFIX/share/remover.txt"\n')
    pack(folder, "replacer", 'rm -r "$PREFIX/share"\nmkdir "$PREFIX/share"\necho new > "$PREFIX/share/new"\n')
    pack(folder, "early", "true\n", kind="pre-link")
    pack(folder, "late", "true\n", kind="pre-unlink")
    asyncio.run(index_fs(folder / "channel", write_zst=False, write_shards=False))
    project.write(
        "envbuild.toml",
        f'[channels]\ndefaults = "{channel.as_uri()}"\nscripts = "channel"\n'
        '[virtual-packages]\nlinux-64 = { __glibc = "2.36" }\n',
    )
    return project


def asking_for(project: Project, name: str) -> str:
    project.write(f"{name}.yml", f"name: {name}\nchannels: [scripts, defaults]\ndependencies: [python=3.11, {name}]\n")
    return f"{name}.yml"


def test_a_script_is_refused_by_the_name_of_its_package(with_scripts: Project) -> None:
    done = with_scripts.envbuild("register", asking_for(with_scripts, "greeter"))
    assert done.returncode == 1
    assert "wants to run bin/.greeter-post-link.sh at installation" in done.stderr
    assert "--allow-script greeter" in done.stderr


def test_an_allowed_script_runs_in_the_sandbox_and_marks_the_image(with_scripts: Project) -> None:
    file = asking_for(with_scripts, "greeter")
    allowed = [word for name in ("greeter", "lister", "gretter") for word in ("--allow-script", name)]
    done = with_scripts.envbuild("register", file, *allowed)
    assert done.returncode == 0, done.stderr
    assert "--allow-script gretter: greeter:1 has no package of that name" in done.stderr
    assert "greeter says: read the manual" in done.stderr
    record = with_scripts.json("env", "show", "greeter")
    layer = record["image"]["layers"][-2]
    assert layer["title"] == "link scripts of greeter, lister"
    tree = with_scripts.home / "trees" / layer["tree"]
    made = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir())
    assert made == ["opt/env/share/link", "opt/env/share/listed.txt", "opt/env/share/made.txt"]
    # greeter needs lister, so lister's script ran first
    assert (tree / "opt/env/share/made.txt").read_text() == "greeter 1.0\ngreeter.txt\nlisted.txt\nlister.txt\n"
    assert (tree / "opt/env/share/made.txt").stat().st_mode & 0o777 == 0o755
    config = with_scripts.home / "store/blobs/sha256" / record["image"]["config_digest"].removeprefix("sha256:")
    labels = json.loads(config.read_text())["config"]["Labels"]
    assert labels["dev.envbuild.reproducible"] == "false"
    assert labels["dev.envbuild.link-scripts"] == "greeter lister"
    with_scripts.write("src/show.py", "print(open('/opt/env/share/link').readline(), end='')\n")
    assert with_scripts.envbuild("run", "src", "show.py").stdout == "greeter 1.0\n"


def test_the_project_s_settings_allow_it_too_and_nothing_runs_twice(with_scripts: Project) -> None:
    allowed = {"ENVBUILD_BUILD_ALLOW_SCRIPTS": "greeter lister"}
    file = asking_for(with_scripts, "greeter")
    assert with_scripts.json("register", file, env=allowed)["status"] == "built"
    assert with_scripts.json("register", file, env=allowed)["status"] == "reused"
    assert with_scripts.envbuild("register", file).returncode == 1  # allowed once is not allowed for ever


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("failer", "the script bin/.failer-post-link.sh of failer-1.0-0.conda ended with 3: no such luck"),
        ("remover", "a link script removes share/remover.txt, which another layer holds"),
        ("replacer", "a link script replaces the folder share, which another layer holds"),
        ("early", "wants to run bin/.early-pre-link.sh before it is installed"),
    ],
)
def test_a_script_that_cannot_be_kept_is_a_sentence_and_leaves_nothing(
    with_scripts: Project, name: str, sentence: str
) -> None:
    done = with_scripts.envbuild("register", asking_for(with_scripts, name), "--allow-script", name)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert with_scripts.json("env", "list") == []
    scratch = with_scripts.home / "scratch"
    assert not scratch.exists() or [path for path in scratch.iterdir() if path.name.startswith(".tmp")] == []


def test_a_script_for_removal_is_of_no_concern(with_scripts: Project) -> None:
    assert with_scripts.json("register", asking_for(with_scripts, "late"))["status"] == "built"
