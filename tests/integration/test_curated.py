"""Curated environments: used by name, refreshed, extended; with the test channel in the place of theirs."""

from pathlib import Path

import pytest
from harness import Project


@pytest.fixture
def mapped(project: Project, channel: Path) -> Project:
    project.write(
        "envbuild.toml",
        f'[channels]\nconda-forge = "{channel.as_uri()}"\n[virtual-packages]\nlinux-64 = {{ __glibc = "2.36" }}\n',
    )
    project.write("src/show.py", "import sys\nprint(sys.prefix)\n")
    return project


def test_a_run_uses_one_by_name_and_builds_it_once(mapped: Project) -> None:
    first = mapped.envbuild("run", "--env", "curated/minimal", "src", "show.py")
    assert (first.returncode, first.stdout) == (0, "/opt/env\n"), first.stderr
    mapped.envbuild("run", "--env", "curated/minimal", "src", "show.py")
    assert [(each["name"], each["version"]) for each in mapped.json("env", "list")] == [("curated-minimal", 1)]


def test_it_is_registered_by_name(mapped: Project) -> None:
    done = mapped.json("register", "--from", "curated/minimal", "--name", "mine")
    assert (done["name"], done["status"]) == ("mine", "built")


def test_a_refreshed_lock_is_kept_and_used(mapped: Project) -> None:
    first = mapped.json("curated", "refresh", "minimal")
    assert [change.split()[:2] for change in first["changes"]] == [["+", "pip"], ["+", "python"]]
    assert mapped.json("curated", "refresh", "minimal")["changes"] == []
    assert set(mapped.json("curated", "show", "minimal")["packages"]) == {"pip", "python"}
    lock = Path(first["lock"])
    lock.write_text(lock.read_text().replace("version: 3.11", "version: 3.11  #"))  # equal content, other bytes
    done = mapped.json("register", "--from", "curated/minimal")
    assert (done["name"], done["packages"]) == ("curated-minimal", 2)
    assert "lock     done" not in Path(done["log"]).read_text()  # nothing was solved


def test_a_maintainer_keeps_the_lock_beside_the_file(mapped: Project) -> None:
    done = mapped.json("curated", "refresh", "minimal", "--into", "environments")
    assert Path(done["lock"]) == Path("environments/minimal/conda-lock.yml")
    assert (mapped.folder / "environments/minimal/conda-lock.yml").is_file()
    assert mapped.json("curated", "list")[1] == {
        "name": "curated/minimal",
        "base": "debian12-minimal",
        "description": "Python and pip, nothing more: to extend",
        "locked": False,
    }


def test_one_is_extended_and_the_extension_extended_again(mapped: Project) -> None:
    first = mapped.json("register", "--from", "curated/minimal", "--add", "jinja2>=3", "--name", "web")
    assert first["name"] == "web"
    second = mapped.json("register", "--from", "web", "--add", "pip:six==1.16.0")
    assert (second["name"], second["version"], second["packages"]) == ("web", 2, first["packages"] + 1)
    text = (mapped.home / "environments/web/2/spec.yml").read_text()
    assert "- jinja2 >=3" in text and "- six==1.16.0" in text
    # what is kept is an environment file that asks for the same
    mapped.write("copy.yml", text)
    assert mapped.json("register", "copy.yml")["spec_key"] == second["spec_key"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (("--from", "curated/sklern"), "did you mean sklearn?"),
        (("--from", "curated/minimal", "--add", "six=>1"), "--add six=>1: 'six=>1': write >= or <="),
        (("--from", "curated/minimal", "--add", "python<3.11,==3.12"), "not offered by"),
        (("--from", "nothing"), "none is registered yet"),
        (("environment.yml", "--add", "six"), "--add goes with --from"),
        (("environment.yml", "--from", "curated/minimal"), "name one thing to register"),
        ((), "name one thing to register"),
    ],
)
def test_wrong_words_are_a_sentence(mapped: Project, line: tuple[str, ...], sentence: str) -> None:
    done = mapped.envbuild("register", *line)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
