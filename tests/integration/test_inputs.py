"""Every way into a registration, with real conda prefixes, virtual environments and lock files."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rattler
import yaml
from conda_prefix import make_conda_prefix, solved
from harness import Project


@pytest.fixture(scope="module")
def prefix(channel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_conda_prefix(channel, tmp_path_factory.mktemp("conda") / "old-env")


def locked(project: Project) -> dict[str, dict[str, Any]]:
    """The packages of `conda-lock.yml` by their names."""
    document = yaml.safe_load((project.folder / "conda-lock.yml").read_text())
    return {each["name"]: each for each in document["package"]}


def test_a_conda_environment_comes_back_with_its_builds_its_pip_packages_and_its_variables(
    project: Project, prefix: Path
) -> None:
    done = project.json("register", "--from-conda", prefix)
    assert (done["name"], done["status"]) == ("old-env", "built")
    spec = yaml.safe_load((project.home / "environments/old-env/1/spec.yml").read_text())
    assert spec["dependencies"][-1] == {"pip": ["six==1.16.0"]}
    assert any("python ==3.11" in each and each.endswith("_cpython") for each in spec["dependencies"][:-1])
    assert spec["variables"] == {"OMP_NUM_THREADS": "4"}
    again = project.json("register", project.home / "environments/old-env/1/spec.yml")
    assert (again["status"], again["spec_key"]) == ("reused", done["spec_key"])


def test_without_conda_a_name_is_a_sentence_and_with_it_a_folder(project: Project, prefix: Path) -> None:
    nothing = {"PATH": "/usr/bin:/bin"}
    done = project.envbuild("register", "--from-conda", "old-env", "--no-build", env=nothing)
    assert done.returncode == 2
    assert "no conda is on the PATH to ask where old-env lies; name the environment's folder" in done.stderr
    conda = project.write("bin/conda", f'#!/bin/sh\necho \'{{"envs": ["/opt/base", "{prefix}"]}}\'\n')
    conda.chmod(0o755)
    there = {"PATH": f"{conda.parent}:/usr/bin:/bin"}
    done = project.envbuild("register", "--from-conda", "old-env", "--no-build", env=there)
    assert done.returncode == 0, done.stderr
    assert "pip has installed six there; kept as a pip section" in done.stderr
    done = project.envbuild("register", "--from-conda", "other", "--no-build", env=there)
    assert "conda knows no environment 'other'; known: base, old-env" in done.stderr


def test_a_virtual_environment_gives_its_python_and_its_pinned_packages(project: Project) -> None:
    package = project.write("mine/pyproject.toml", '[project]\nname = "mine"\nversion = "1"\n').parent
    (package / "mine.py").write_text("")
    subprocess.run([sys.executable, "-m", "venv", project.folder / "work"], check=True)
    python = project.folder / "work/bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "six==1.16.0"], check=True)
    subprocess.run(["rm", "-rf", package], check=True)
    done = project.envbuild("register", "--from-venv", "work", "--no-build")
    assert done.returncode == 0, done.stderr
    assert locked(project)["six"]["version"] == "1.16.0"
    assert locked(project)["python"]["version"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    done = project.envbuild("register", "--from-venv", "mine")
    assert "mine is no virtual environment: it has no pyvenv.cfg" in done.stderr


def test_an_explicit_list_by_sha256_and_by_md5_is_one_environment(project: Project, channel: Path) -> None:
    records = solved(channel, "python=3.11", "jinja2")
    strong = [f"{each.url}#sha256:{each.sha256.hex()}" for each in records]
    project.write("strong.txt", "\n".join(["# platform: linux-64", "@EXPLICIT", *strong]))
    files = [channel / each.subdir / each.file_name for each in records]
    weak = [
        f"{each.url}#{hashlib.md5(file.read_bytes()).hexdigest()}" for each, file in zip(records, files, strict=True)
    ]
    project.write("weak.txt", "\n".join(["@EXPLICIT", *weak]))
    first = project.json("register", "strong.txt", "--name", "listed")
    done = project.envbuild("register", "weak.txt", "--name", "listed", "--json")
    assert f"{len(records)} packages of the list have MD5 only; checked, and locked with their sha256" in done.stderr
    second = json.loads(done.stdout)
    assert second["environment_id"] == first["environment_id"]
    assert second["status"] == "reused"


def test_a_package_that_is_not_what_the_list_says_is_refused(project: Project, channel: Path) -> None:
    url = next(iter(channel.glob("noarch/jinja2-*.conda"))).as_uri()
    for fragment, code, sentence in (
        ("#" + "0" * 32, 1, "the lock says 00000000"),
        ("#sha256:" + "0" * 64, 1, "the lock says 00000000"),
        ("", 2, "jinja2 has no hash"),
        ("#xyz", 2, "jinja2 has no hash"),
    ):
        project.write("bad.txt", f"@EXPLICIT\n{url}{fragment}\n")
        done = project.envbuild("register", "bad.txt", "--name", "bad")
        assert (done.returncode, sentence in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr


def test_a_lock_of_pixi_gives_the_environment_that_is_named(project: Project, channel: Path) -> None:
    platform = rattler.LockPlatform("linux-64")
    lock = rattler.LockFile([platform])
    for name, specs in (("default", ("python=3.11",)), ("web", ("python=3.11", "jinja2"))):
        lock.set_channels(name, [rattler.LockChannel(channel.as_uri())])
        for record in solved(channel, *specs):
            lock.add_conda_package(name, platform, record)
    lock.to_path(project.folder / "pixi.lock")
    done = project.json("register", "pixi.lock", "--no-build")
    assert (done["file"], done["status"], list(done["packages"])) == ("conda-lock.yml", "locked", ["linux-64"])
    assert "jinja2" not in locked(project)
    assert project.envbuild("register", "pixi.lock", "--no-build", "--pixi-environment", "web").returncode == 0
    assert locked(project)["jinja2"]["hash"]["sha256"]
    done = project.envbuild("register", "pixi.lock", "--pixi-environment", "gpu")
    assert "has no environment 'gpu'; it has default, web" in done.stderr
    done = project.envbuild("register", "pixi.lock", "--platform", "linux-aarch64")
    assert "locks nothing for linux-aarch64; it has linux-64" in done.stderr
    for other in (("environment.yml",), ("--from", "curated/minimal")):
        done = project.envbuild("register", *other, "--pixi-environment", "web")
        assert (done.returncode, "--pixi-environment" in done.stderr) == (2, True), other
    project.write("pixi.lock", "version: 99\n")
    assert "is no lock of pixi that can be read" in project.envbuild("register", "pixi.lock").stderr


def test_a_lock_of_version_6_as_pixi_writes_it(project: Project, channel: Path) -> None:
    """Several environments over one list of packages, conda's and PyPI's, as in pixi's own repository."""

    def entries(*specs: str) -> list[tuple[str, str]]:
        found = [(str(record.url), record.sha256.hex()) for record in solved(channel, *specs) if record.sha256]
        return [(url.replace(channel.as_uri(), "https://conda.example.test/main"), sha256) for url, sha256 in found]

    small, web = entries("python=3.11"), entries("python=3.11", "jinja2")
    wheel = "https://files.example.test/six-1.17.0-py2.py3-none-any.whl"
    text = "version: 6\nenvironments:\n"
    for name, packages, wheels in (("default", small, ()), ("web", web, (wheel,))):
        text += f"  {name}:\n    channels:\n    - url: https://conda.example.test/main/\n    indexes:\n    - https://pypi.example.test/simple\n"
        text += "    packages:\n      linux-64:\n" + "".join(f"      - conda: {url}\n" for url, _ in packages)
        text += "".join(f"      - pypi: {url}\n" for url in wheels)
    text += "packages:\n" + "".join(f"- conda: {url}\n  sha256: {sha256}\n" for url, sha256 in sorted(web))
    text += f"- pypi: {wheel}\n  name: six\n  version: 1.17.0\n  sha256: {'1a' * 32}\n"
    project.write("pixi.lock", text)
    done = project.envbuild("register", "pixi.lock", "--no-build")
    assert done.returncode == 0, done.stderr
    assert {"jinja2", "six"} & locked(project).keys() == set()
    done = project.envbuild("register", "pixi.lock", "--no-build", "--pixi-environment", "web")
    assert done.returncode == 0, done.stderr
    assert locked(project)["six"]["url"] == wheel and "jinja2" in locked(project)
    project.write("pixi.lock", text.replace(f"  sha256: {'1a' * 32}\n", ""))
    done = project.envbuild("register", "pixi.lock", "--no-build", "--pixi-environment", "web")
    assert (done.returncode, "pixi.lock: six has no sha256; lock again" in done.stderr) == (2, True), done.stderr
    done = project.envbuild("env", "explain", "pixi.lock", "--pixi-environment", "wep")
    assert (done.returncode, "has no environment 'wep'; it has default, web" in done.stderr) == (2, True)


def test_python_for_a_file_that_names_none(project: Project) -> None:
    project.write("requirements.txt", "six==1.16.0  # pinned\n")
    done = project.envbuild("register", "requirements.txt", "--python", "3.11", "--no-build")
    assert done.returncode == 0, done.stderr
    assert "does not ask for python" not in done.stderr
    for version, sentence in (
        ("3.x", "--python '3.x' is no version"),
        ("none", "has a pip section, which needs Python"),
        ("2.7", "python 2.7.* (versions offered: 3.11"),
    ):
        done = project.envbuild("register", "requirements.txt", "--python", version, "--no-build")
        assert done.returncode == 2
        assert sentence in done.stderr
    done = project.envbuild("register", "environment.yml", "--python", "3.11")
    assert "environment.yml asks for python itself" in done.stderr


def test_builds_and_pins_that_are_gone_are_named_at_once_and_loosened_alone(project: Project) -> None:
    project.write(
        "exported.yml",
        "name: exported\nchannels: [defaults]\ndependencies:\n"
        "- python=3.11\n- jinja2=3.1.6=pyh0000000_9\n- markupsafe=2.0.1=py38_0\n- pygments=2.19.2\n",
    )
    done = project.envbuild("register", "exported.yml", "--no-build")
    assert done.returncode == 2
    assert "asks for 2 packages that are not offered by defaults" in done.stderr
    assert "jinja2 ==3.1.6 pyh0000000_9 (builds offered: pyha" in done.stderr
    assert "markupsafe ==2.0.1 py38_0 (versions offered: 3.0.2)" in done.stderr
    assert "--loosen builds takes any build" in done.stderr
    half = project.envbuild("register", "exported.yml", "--no-build", "--loosen", "builds")
    assert "asks for a package that is not offered" in half.stderr
    both = project.json("register", "exported.yml", "--loosen", "builds", "--loosen", "pins")
    record = json.loads((project.home / "environments/exported/1/environment.json").read_text())
    assert record["dropped"]["linux-64"] == [
        "jinja2 ==3.1.6 pyh0000000_9: the build pyh0000000_9 is not offered any more; any build is taken",
        "markupsafe ==2.0.1 py38_0: ==2.0.1 py38_0 is not offered any more; any version is taken",
    ]
    assert record["spec_ingredients"]["loosen"] == ["builds", "pins"]
    assert "any build is taken" in Path(both["log"]).read_text()
    assert both["status"] == "built"
    shown = project.envbuild("env", "show", "exported").stdout
    assert "dropped         linux-64: markupsafe ==2.0.1 py38_0: ==2.0.1 py38_0 is not offered any more" in shown
    # what extends it is as loose, or nothing could extend it
    wider = project.json("register", "--from", "exported", "--add", "pip", "--name", "wider")
    assert (wider["status"], wider["packages"]) == ("built", both["packages"] + 1)


def test_what_extends_an_environment_keeps_what_was_said_beside_its_file(project: Project) -> None:
    project.write("requirements.txt", "-c c.txt\n-r more.txt\nsix\n")
    project.write("c.txt", "six<1.17\n")
    project.write("more.txt", "idna\n")
    project.json("register", "requirements.txt", "--python", "3.11", "--name", "web")
    done = project.json("register", "--from", "web", "--add", "pygments", "--name", "wider")
    said = json.loads((project.home / "environments/wider/1/environment.json").read_text())["spec_ingredients"]
    assert (done["status"], said["constraints"], said["pip"]) == ("built", ["six<1.17"], ["idna", "six"])
    assert said["dependencies"] == ["pip", "pygments", "python 3.11.*"]
    project.write("mine/pyproject.toml", '[project]\nname = "mine"\nversion = "1"\n')
    project.write("local.txt", "./mine\n")
    project.json("register", "local.txt", "--python", "3.11", "--name", "local")
    refused = project.envbuild("register", "--from", "local", "--add", "pygments")
    assert refused.returncode == 2
    assert "local:1 takes ./mine from beside its file, which is not kept here; add to that" in refused.stderr


def test_what_machines_have_is_said_and_never_read_from_this_one(project: Project) -> None:
    project.write("gpu.yml", "name: gpu\nchannels: [defaults]\ndependencies: [python=3.11, jinja2]\n")
    plain = project.json("register", "gpu.yml", env={"CONDA_OVERRIDE_CUDA": "11.8", "CONDA_OVERRIDE_GLIBC": "2.99"})
    key = json.loads((project.home / "environments/gpu/1/environment.json").read_text())["spec_ingredients"]
    assert key["steering"]["virtual_packages"]["linux-64"] == {
        "__archspec": "x86_64",
        "__glibc": "2.36",
        "__linux": "5.10",
        "__unix": "0",
    }
    same = project.json("register", "gpu.yml", env={"CONDA_OVERRIDE_CUDA": "12.4"})
    assert (same["status"], same["spec_key"]) == ("reused", plain["spec_key"])
