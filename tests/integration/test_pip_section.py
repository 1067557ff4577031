"""The pip section for real: source distributions, repositories, folders, hashes, markers and conflicts."""

import io
import json
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from harness import Project, need

HEAD = "name: small\nchannels: [defaults]\ndependencies:\n- python=3.11\n- pip\n- pip:\n"
SIX_1_16 = "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"
SIX_1_17_SDIST = "ff70335d468e7eb6ec65b95b99d3a2836546063f63acc5171de367e834932a81"


def with_pip(project: Project, *lines: str) -> None:
    project.write("environment.yml", HEAD + "".join(f"  - {line}\n" for line in lines))


def record(project: Project, version: int = 1) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((project.home / f"environments/small/{version}/environment.json").read_text())
    return document


def lock(project: Project, version: int = 1) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(
        (project.home / f"environments/small/{version}/conda-lock.yml").read_text()
    )
    return document


def labels(project: Project, version: int = 1) -> dict[str, str]:
    digest = record(project, version)["image"]["config_digest"].removeprefix("sha256:")
    found: dict[str, str] = json.loads((project.home / "store/blobs/sha256" / digest).read_text())["config"]["Labels"]
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with a package in it, tagged v2."""
    need("git")
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "fromgit"\nversion = "2.0"\ndependencies = ["six"]\n')
    (folder / "fromgit.py").write_text("NAME = 'git'\n")
    git = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=n@example.test"]
    for line in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "x"], ["tag", "v2"]):
        subprocess.run([*git, *line], check=True)
    return folder


def test_sources_are_built_in_the_sandbox_and_the_image_says_so(
    new_project: Callable[[str], Project], repository: Path
) -> None:
    project = new_project("project")
    project.write(
        "mine/setup.py", "from setuptools import setup\nsetup(name='mine', version='1', py_modules=['mine'])\n"
    )
    project.write("mine/mine.py", "NAME = 'folder'\n")
    with_pip(project, "docopt==0.6.2", "-e ./mine", f"git+{repository.as_uri()}@v2")
    done = project.envbuild("register", "environment.yml", "--json")
    assert done.returncode == 0, done.stderr
    assert "-e ./mine is installed as a plain copy" in done.stderr
    assert "building docopt from source, in the sandbox and without network" in done.stderr
    assert labels(project)["dev.envbuild.reproducible"] == "false"
    assert labels(project)["dev.envbuild.built-from-source"] == "docopt fromgit mine"
    entries = {each["name"]: each for each in lock(project)["package"]}
    commit = subprocess.run(
        ["git", "-C", repository, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert entries["fromgit"]["url"] == f"git+{repository.as_uri()}@{commit}"
    assert entries["docopt"]["url"].endswith("docopt-0.6.2.tar.gz")
    built = json.loads(lock(project)["metadata"]["custom_metadata"]["envbuild:linux-64"])["built"]
    assert built["docopt"]["source_sha256"] == entries["docopt"]["hash"]["sha256"]
    assert "setuptools" in [each["name"] for each in built["docopt"]["requires"]]
    assert entries["six"]["url"].endswith(".whl")
    sbom = project.envbuild("env", "sbom", "small").stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom) is None
    docopt = next(each for each in json.loads(sbom)["components"] if each["name"] == "docopt")
    (reference,) = docopt["externalReferences"]
    assert (reference["type"], reference["url"]) == ("source-distribution", entries["docopt"]["url"])
    assert reference["hashes"][0]["content"] == entries["docopt"]["hash"]["sha256"]
    assert docopt["hashes"][0]["content"] == built["docopt"]["sha256"]
    run = project.write(
        "src/main.py", "import docopt, fromgit, mine\nprint(fromgit.NAME, mine.NAME, docopt.__version__)\n"
    )
    ran = project.envbuild("run", run.parent, "main.py")
    assert "git folder 0.6.2" in ran.stdout, ran.stderr

    other = new_project("other")
    text = (project.home / "environments/small/1/conda-lock.yml").read_text()
    other.write("conda-lock.yml", text)
    done = other.envbuild("register", "conda-lock.yml", "--name", "small")
    assert "mine was built from the folder ./mine, which a lock does not carry" in done.stderr
    document = yaml.safe_load(text)
    document["package"] = [each for each in document["package"] if each["name"] != "mine"]
    other.write("conda-lock.yml", yaml.safe_dump(document))
    again = other.json("register", "conda-lock.yml", "--name", "small")
    assert again["status"] == "built"  # docopt and fromgit were built again, and are the wheels of the lock
    assert labels(other)["dev.envbuild.built-from-source"] == "docopt fromgit"


def test_what_a_folder_holds_is_part_of_the_request(project: Project) -> None:
    project.write("mine/pyproject.toml", '[project]\nname = "mine"\nversion = "1"\n')
    project.write("mine/mine.py", "NAME = 1\n")
    with_pip(project, "./mine")
    first = project.json("register", "environment.yml")
    project.write("mine/__pycache__/mine.cpython-311.pyc", "")
    project.write("mine/.git/HEAD", "")
    assert project.json("register", "environment.yml")["status"] == "reused"
    project.write("mine/mine.py", "NAME = 2\n")
    second = project.json("register", "environment.yml")
    assert (second["version"], second["spec_key"] != first["spec_key"]) == (2, True)


def test_the_network_is_off_while_something_is_built(project: Project) -> None:
    project.write("mine/pyproject.toml", '[project]\nname = "mine"\nversion = "1"\n')
    project.write(
        "mine/setup.py",
        "import socket\nfrom setuptools import setup\n"
        "try:\n    socket.create_connection(('127.0.0.1', 9), 1)\n"
        "except OSError as error:\n"
        "    raise SystemExit('interfaces: %d' % open('/proc/net/dev').read().count(':'))\n"
        "setup()\n",
    )
    with_pip(project, "./mine")
    done = project.envbuild("register", "environment.yml")
    assert done.returncode == 1
    assert "./mine cannot be built from source" in done.stderr
    assert "interfaces: 1" in done.stderr  # the loopback of its own network, and nothing behind it
    assert "Traceback (most recent call last)" not in done.stderr.split("cannot be built")[0]


def test_hashes_are_enforced(project: Project) -> None:
    with_pip(project, f"six==1.16.0 --hash=sha256:{SIX_1_16}")
    assert project.json("register", "environment.yml")["status"] == "built"
    with_pip(project, f"six==1.16.0 --hash=sha256:{'0' * 64}")
    done = project.envbuild("register", "environment.yml")
    assert done.returncode == 2
    assert "no file of six 1.16.0 has a --hash of its line" in done.stderr
    project.write("requirements.txt", "--require-hashes\nsix==1.16.0\n")
    done = project.envbuild("register", "requirements.txt", "--python", "3.11")
    assert "requirements.txt:2: --require-hashes is in force; six==1.16.0 needs == and a --hash" in done.stderr


def test_of_two_hashes_the_source_is_built_when_the_wheel_s_is_not_among_them(project: Project) -> None:
    with_pip(project, f"six==1.17.0 --hash=sha256:{SIX_1_17_SDIST}")
    project.json("register", "environment.yml")
    assert labels(project)["dev.envbuild.built-from-source"] == "six"


def test_conflicts_with_conda_packages_are_one_sentence(project: Project) -> None:
    project.write(
        "environment.yml",
        "name: x\nchannels: [defaults]\ndependencies:\n- python=3.11\n- jinja2\n- pip\n- pip:\n  - jinja2<3\n",
    )
    done = project.envbuild("register", "environment.yml")
    assert done.returncode == 2
    assert "environment.yml:8: pip wants jinja2<3, and conda brings jinja2 3.1.6; change one of the two" in done.stderr
    project.write(
        "environment.yml",
        "name: x\nchannels: [defaults]\ndependencies:\n- python=3.11\n- jinja2\n- pip\n- pip:\n  - flask==1.1.4\n",
    )
    done = project.envbuild("register", "environment.yml")
    assert "flask==1.1.4 of pip wants jinja2>=2.10.1,<3.0, and conda brings jinja2 3.1.6" in done.stderr


def test_lines_for_another_system_are_left_out_and_included_files_constrain(project: Project) -> None:
    project.write("more.txt", "-c limits.txt\nsix  # any\nnosuchpackage ; sys_platform == 'win32'\n")
    project.write("limits.txt", "six<1.17\n")
    project.write("requirements.txt", "# all of it\n-r more.txt\nidna \\\n  ==3.7\n./nowhere ; python_version < '3'\n")
    done = project.envbuild("register", "requirements.txt", "--python", "3.11", "--name", "small")
    assert "nowhere does not exist; paths of pip lines count from the folder" in done.stderr
    project.write("requirements.txt", "# all of it\n-r more.txt\nidna \\\n  ==3.7\n")
    project.json("register", "requirements.txt", "--python", "3.11", "--name", "small")
    versions = {each["name"]: each["version"] for each in lock(project)["package"]}
    assert (versions["six"], versions["idna"], "nosuchpackage" in versions) == ("1.16.0", "3.7", False)


def test_what_uv_is_told_by_variables_chooses_no_packages_unless_it_is_an_index(project: Project) -> None:
    constraint = project.write("c.txt", "six==1.15.0\n")
    with_pip(project, "six==1.16.0")
    done = project.envbuild("register", "environment.yml", "--no-build", env={"UV_CONSTRAINT": str(constraint)})
    assert done.returncode == 0, done.stderr
    assert "UV_CONSTRAINT of this shell does not count" in done.stderr
    nobody = {"UV_INDEX_URL": "http://127.0.0.1:9/simple"}
    done = project.envbuild("register", "environment.yml", "--no-build", env=nobody)
    assert done.returncode == 1
    assert "pip.index of the settings is not given; taken from UV_INDEX_URL" in done.stderr
    assert "an index of the pip section cannot be read" in done.stderr


def test_an_index_and_a_project_that_are_not_there_are_sentences(project: Project) -> None:
    with_pip(project, "no-such-project-of-anyone-0")
    done = project.envbuild("register", "environment.yml")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "the pip section cannot be satisfied beside the conda packages" in done.stderr
    with_pip(project, "git+file:///no/such/repository")
    done = project.envbuild("register", "environment.yml")
    assert done.returncode == 1
    assert "file:///no/such/repository cannot be cloned" in done.stderr


BACKEND = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "    os.symlink(SECRET, output + '/mine-1-py3-none-any.whl')\n    return 'mine-1-py3-none-any.whl'",
            "no file",
        ),
        ("    os.mkfifo(output + '/mine-1-py3-none-any.whl')\n    return 'mine-1-py3-none-any.whl'", "no file"),
        ("    return 'mine-1-py3-none-any.whl'", "no file"),
        ("    return '..'", "no file"),
        ("    open(output + '/a.whl', 'w').write('x')\n    return 'a.whl'", "no zip file"),
        ("    sys.exit(0)", "ended without saying what it made"),
        ("    os.write(1, b'x')\n    os._exit(0)", "ended without saying what it made"),
    ],
)
def test_what_a_build_leaves_is_one_sentence_and_no_file_of_this_machine(
    project: Project, body: str, sentence: str
) -> None:
    secret = project.folder / "secret.zip"
    with zipfile.ZipFile(secret, "w") as archive:
        archive.writestr("key", "S3cret4711")
    project.write("mine/pyproject.toml", BACKEND)
    backend = f"import os, sys\nSECRET = {str(secret)!r}\ndef build_wheel(output, *more):\n{body}\n"
    project.write("mine/backend.py", backend)
    with_pip(project, "./mine")
    done = project.envbuild("register", "environment.yml")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert sentence in done.stderr


def test_what_a_source_writes_while_uv_asks_it_is_seen_by_no_other_solve(project: Project) -> None:
    """Its code could put a wheel of its own into uv's cache, where the next environment would take it for six."""
    setup = """import os, setuptools
folder = os.getcwd()
while folder != "/":
    try:
        open(folder + "/poison", "w").close()
    except OSError:
        pass
    folder = os.path.dirname(folder)
setuptools.setup(name="poisoner", version="1", py_modules=[])
"""
    add_source(project.folder / "links", "poisoner", setup)
    with_pip(project, f"--find-links {project.folder / 'links'}", "poisoner")
    done = project.envbuild("register", "environment.yml", "--no-build")
    assert done.returncode == 0, done.stderr
    assert list(project.home.rglob("poison")) == []


def test_a_link_in_the_place_of_what_uv_has_solved_is_not_followed(project: Project) -> None:
    """Its code finds out where uv will write, and the link means another file here than in the sandbox."""
    secret = project.write("secret", "S3cret4711\n")
    setup = f"""import glob, os, setuptools
for process in glob.glob("/proc/[0-9]*/cmdline"):
    words = open(process, "rb").read().split(b"\\0")
    if b"--output-file" in words:
        place = words[words.index(b"--output-file") + 1].decode()
        if os.path.lexists(place):
            os.unlink(place)
        os.makedirs({str(project.folder)!r}, exist_ok=True)
        os.symlink({str(secret)!r}, place)
setuptools.setup(name="linker", version="1", py_modules=[])
"""
    add_source(project.folder / "links", "linker", setup)
    with_pip(project, f"--find-links {project.folder / 'links'}", "linker")
    done = project.envbuild("register", "environment.yml", "--no-build")
    assert (done.returncode, "S3cret4711" in done.stderr) == (2, False)
    assert "what uv has solved cannot be read (it is no plain file); the code of linker may have" in done.stderr


def add_source(links: Path, name: str, setup: str) -> None:
    """A source distribution in the folder `links`."""
    links.mkdir()
    with tarfile.open(links / f"{name}-1.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo(f"{name}-1/setup.py")
        entry.size = len(setup.encode())
        archive.addfile(entry, io.BytesIO(setup.encode()))
