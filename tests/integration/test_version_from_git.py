"""Sources whose version is made of git: built as at their commit, recorded, and built again the same."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import Project, need

PROJECTS = {
    "setuptools_scm": (
        '[build-system]\nrequires = ["setuptools>=77", "setuptools-scm>=8"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "scmade"\ndynamic = ["version"]\n[tool.setuptools_scm]\n[tool.setuptools]\n'
        'py-modules = ["scmade"]\n'
    ),
    "hatch-vcs": (
        '[build-system]\nrequires = ["hatchling", "hatch-vcs"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "scmade"\ndynamic = ["version"]\n[tool.hatch.version]\nsource = "vcs"\n'
    ),
    "pdm": (
        '[build-system]\nrequires = ["pdm-backend"]\nbuild-backend = "pdm.backend"\n'
        '[project]\nname = "scmade"\ndynamic = ["version"]\n[tool.pdm.version]\nsource = "scm"\n'
    ),
}
MODULE = "from importlib.metadata import version\nVERSION = version('scmade')\n"


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=n@example.test", "-c", "commit.gpgsign=false"]
    done = subprocess.run([need("git"), "-C", folder, *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def fill(folder: Path, kind: str) -> Path:
    """A repository of one package, at its first commit and without a tag."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECTS[kind])
    (folder / "scmade.py").write_text(MODULE)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def more(folder: Path) -> None:
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "more")


def with_pip(project: Project, line: str) -> None:
    project.write(
        "environment.yml",
        f"name: small\nchannels: [defaults]\ndependencies:\n- python=3.11\n- pip\n- pip:\n  - {line}\n",
    )


def locked(project: Project, version: int = 1) -> tuple[str, dict[str, Any]]:
    """The version of the package, and how the lock says it was built."""
    document = yaml.safe_load((project.home / f"environments/small/{version}/conda-lock.yml").read_text())
    built = json.loads(document["metadata"]["custom_metadata"]["envbuild:linux-64"])["built"]["scmade"]
    return next(each["version"] for each in document["package"] if each["name"] == "scmade"), built


@pytest.mark.parametrize("kind", PROJECTS)
def test_a_repository_has_the_version_of_its_tags(
    new_project: Callable[[str], Project], tmp_path: Path, kind: str
) -> None:
    project, repository = new_project("project"), fill(tmp_path / "repository", kind)
    git(repository, "tag", "v1.2.0")
    more(repository)
    commit = git(repository, "rev-parse", "HEAD")
    with_pip(project, f"git+{repository.as_uri()}")
    project.json("register", "environment.yml")
    version, built = locked(project)
    assert version == f"1.2.1.dev1+g{commit[:9]}"
    assert (built["described"]["tag"], built["described"]["distance"], built["described"]["commit"]) == (
        "v1.2.0",
        1,
        commit,
    )
    project.write("src/main.py", "import scmade\nprint('it is', scmade.VERSION)\n")
    assert f"it is {version}" in project.envbuild("run", "src", "main.py").stdout

    git(repository, "tag", "-f", "v9.0.0", commit)  # what the lock says holds, whatever became of the tags
    other = new_project("other")
    other.write("conda-lock.yml", (project.home / "environments/small/1/conda-lock.yml").read_text())
    again = other.json("register", "conda-lock.yml", "--name", "small")
    assert (
        again["environment_id"]
        == json.loads(project.envbuild("env", "show", "small", "--json").stdout)["environment_id"]
    )


@pytest.mark.parametrize("kind", ["setuptools_scm", "pdm"])
def test_a_folder_has_the_version_of_its_commit_and_a_new_tag_is_a_new_request(project: Project, kind: str) -> None:
    folder = fill(project.folder / "lib", kind)
    with_pip(project, "-e ./lib")
    project.json("register", "environment.yml")
    assert locked(project)[0] == f"0.1.dev1+g{git(folder, 'rev-parse', 'HEAD')[:9]}"
    git(folder, "tag", "v1.0")
    project.json("register", "environment.yml")
    assert locked(project, 2)[0] == "1.0"
    assert project.json("register", "environment.yml")["status"] == "reused"
    (folder / "scmade.py").write_text(MODULE + "CHANGED = True\n")
    done = project.envbuild("register", "environment.yml")
    assert done.returncode == 0, done.stderr
    assert "has files that are not as in its commit; its version is made of the commit alone" in done.stderr
    version, built = locked(project, 3)
    assert (version, built["described"]["changed"]) == ("1.0", True)


def test_a_folder_without_a_repository_and_a_shallow_clone_are_sentences(project: Project, tmp_path: Path) -> None:
    repository = fill(tmp_path / "repository", "setuptools_scm")
    git(repository, "tag", "v1.0")
    for _ in range(3):
        more(repository)
    subprocess.run(
        [need("git"), "clone", "--quiet", "--depth=1", repository.as_uri(), project.folder / "shallow"], check=True
    )
    with_pip(project, "./shallow")
    done = project.envbuild("register", "environment.yml")
    assert (done.returncode, "is shallow, without the commits back to one; bring them: git fetch" in done.stderr) == (
        2,
        True,
    )
    (project.folder / "plain").mkdir()
    for name in ("pyproject.toml", "scmade.py"):
        (project.folder / "plain" / name).write_text((repository / name).read_text())
    with_pip(project, "./plain")
    done = project.envbuild("register", "environment.yml")
    assert done.returncode == 1
    assert "its version is made of git's tags, and it is in no git repository; name the repository" in done.stderr


def test_a_package_below_the_root_of_its_repository(project: Project) -> None:
    folder = project.folder / "mono"
    fill(folder, "setuptools_scm")
    text = PROJECTS["setuptools_scm"].replace(
        "[tool.setuptools_scm]", '[tool.setuptools_scm]\nroot = "../.."\n'
        'git_describe_command = ["git", "describe", "--dirty", "--tags", "--long", "--match", "lib-*"]\n'
        'tag_regex = "^lib-(?P<version>[0-9.]+)$"'
    )  # fmt: skip
    (folder / "packages/lib").mkdir(parents=True)
    (folder / "packages/lib/pyproject.toml").write_text(text)
    (folder / "packages/lib/scmade.py").write_text(MODULE)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "lib")
    git(folder, "tag", "lib-3.1")
    git(folder, "tag", "other-7.0")
    with_pip(project, "./mono/packages/lib")
    project.json("register", "environment.yml")
    assert locked(project)[0] == "3.1"
    with_pip(project, f"'git+{folder.as_uri()}#subdirectory=packages/lib'")
    again = project.json("register", "environment.yml")
    assert again["reason"].startswith("the same packages as small:1")  # the same wheel, from another place


def test_a_format_that_only_pdm_can_make_is_a_sentence(project: Project) -> None:
    folder = fill(project.folder / "lib", "pdm")
    with (folder / "pyproject.toml").open("a") as file:
        file.write('version_format = "mine:format"\n')
    git(folder, "commit", "--quiet", "-a", "-m", "format")
    with_pip(project, "./lib")
    done = project.envbuild("register", "environment.yml")
    assert done.returncode == 1
    assert "makes its version by version_format of its own, which PDM runs on a repository" in done.stderr
    git(folder, "tag", "v2.5")
    project.json("register", "environment.yml")
    assert locked(project)[0] == "2.5"
