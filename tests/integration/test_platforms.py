"""Several platforms: one lock, one index, and what cannot be made for a platform that this machine cannot execute."""

import asyncio
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import Project, copy_home, copy_pins, need
from rattler.index import index_fs

from envbuild.builder.bases.debian import unpack_packages
from envbuild.builder.channel.conda_package import Package, write_package
from envbuild.builder.lock import read_locks

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the foreign platform of these tests is aarch64")

PYTHON = ("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib")


def foreign_python(folder: Path) -> Path:
    """Debian's CPython for arm64, in the shape of a conda package."""
    state = folder / "apt"
    for part in ("lists/partial", "archives/partial"):
        (state / part).mkdir(parents=True)
    (state / "status").touch()
    settings = {
        "Dir::State::Lists": f"{state}/lists",
        "Dir::State::status": f"{state}/status",
        "Dir::Cache": state,
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "1",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    subprocess.run(["apt-get", *options, "update", "-q"], check=True, capture_output=True)
    subprocess.run(["apt-get", *options, "download", "-q", *PYTHON], check=True, capture_output=True, cwd=folder)
    root, tree = folder / "root", folder / "tree"
    root.mkdir()
    unpack_packages([(file.name.split("_")[0], file) for file in folder.glob("*.deb")], root)
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/python3.11").write_bytes((root / "usr/bin/python3.11").read_bytes())
    (tree / "bin/python3.11").chmod(0o755)
    (tree / "bin/python").symlink_to("python3.11")
    (tree / "lib").mkdir()
    subprocess.run(["cp", "-r", root / "usr/lib/python3.11", tree / "lib/"], check=True)
    for link in [path for path in tree.rglob("*") if path.is_symlink() and path.readlink().is_absolute()]:
        link.unlink()
    return tree


@pytest.fixture(scope="module")
def channel_of_two(channel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small channel, and beside it Python and a program for linux-aarch64."""
    both = tmp_path_factory.mktemp("channel") / "both"
    subprocess.run(["cp", "-a", channel, both], check=True)
    for file in both.glob("*/repodata*"):
        file.unlink()
    work = tmp_path_factory.mktemp("arm")
    python = Package("python", "3.11.2", "{hash}_0_cpython", "linux-aarch64", depends=("__glibc >=2.17",))
    write_package(python, foreign_python(work), both, lambda _: None)
    for subdir in ("linux-64", "linux-aarch64"):
        tree = work / subdir
        (tree / "bin").mkdir(parents=True)
        (tree / "bin/tool").write_text(f"#!/bin/sh\necho {subdir}\n")
        (tree / "bin/tool").chmod(0o755)
        (tree / "etc/conda/activate.d").mkdir(parents=True)
        (tree / "etc/conda/activate.d/tool.sh").write_text(f"export TOOL={subdir}\n")
        write_package(Package("tool", "1.0", "{hash}_0", subdir), tree, both, lambda _: None)
    gpu_tool = Package("gpu-tool", "1.0", "{hash}_0", "linux-64", depends=("__cuda >=12", "tool"))
    write_package(gpu_tool, work / "empty", both, lambda _: None)
    asyncio.run(index_fs(both, write_zst=False, write_shards=False, force=True))
    return both


@pytest.fixture(scope="module")
def home_of_two(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the base for both platforms, pinned again where the mirror has dropped a version."""
    folder = tmp_path_factory.mktemp("two")
    copy_home(seed, folder / "home")
    Project(folder, folder / "home").json(
        "base", "update", "debian12-minimal", "--platform", "linux-aarch64", "--if-dropped"
    )
    return folder / "home"


@pytest.fixture
def two(home_of_two: Path, channel_of_two: Path, tmp_path: Path) -> Project:
    project = Project(tmp_path / "two", tmp_path / "two-home")
    project.folder.mkdir()
    copy_home(home_of_two, project.home)
    machines = '[virtual-packages]\nlinux-64 = { __glibc = "2.36" }\n'
    project.write("envbuild.toml", f'[channels]\ndefaults = "{channel_of_two.as_uri()}"\n{machines}')
    return project


BOTH = ("--platform", "linux-64", "--platform", "linux-aarch64")


def record(project: Project, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((project.home / f"environments/{name}/1/environment.json").read_text())
    return document


def config(project: Project, image: dict[str, Any]) -> dict[str, Any]:
    blob = project.home / "store/blobs/sha256" / image["config_digest"].removeprefix("sha256:")
    document: dict[str, Any] = json.loads(blob.read_text())
    return document


def test_what_one_platform_does_not_offer_is_said_with_its_name(two: Project) -> None:
    two.write("gpu.yml", "name: gpu\nchannels: [defaults]\ndependencies: [__cuda=12.4, gpu-tool]\n")
    done = two.envbuild("register", "gpu.yml", "--python", "none", *BOTH, "--no-build")
    assert done.returncode == 2
    assert "not offered by defaults for linux-aarch64:\n  gpu-tool (no channel has this name)" in done.stderr


def test_an_environment_without_python_for_two_platforms_is_one_lock_and_one_index(two: Project) -> None:
    two.write("tool.yml", "name: tool\nchannels: [defaults]\ndependencies: [tool]\n")
    done = two.envbuild("register", "tool.yml", "--python", "none", *BOTH, "--json")
    assert done.returncode == 0, done.stderr
    note = "linux-aarch64 cannot be executed here, so its image is without the variables that activation scripts"
    assert note in done.stderr
    made = record(two, "tool")
    assert made["image"] == made["images"]["linux-64"]
    native, foreign = (config(two, made["images"][each]) for each in ("linux-64", "linux-aarch64"))
    assert (native["architecture"], foreign["architecture"]) == ("amd64", "arm64")
    assert "TOOL=linux-64" in native["config"]["Env"]
    assert "activation scripts" in foreign["config"]["Labels"]["dev.envbuild.left-out"]
    assert "dev.envbuild.left-out" not in native["config"]["Labels"]
    index = two.home / "store/blobs/sha256" / made["index"]["digest"].removeprefix("sha256:")
    listed = json.loads(index.read_text())["manifests"]
    assert [each["platform"]["architecture"] for each in listed] == ["amd64", "arm64"]
    assert [each["digest"] for each in listed] == [made["images"][each]["digest"] for each in made["images"]]
    again = two.json("register", "tool.yml", "--python", "none", *BOTH)
    assert again["status"] == "reused"


def test_the_index_is_exported_and_read_by_others(two: Project) -> None:
    skopeo = need("skopeo")
    two.write("tool.yml", "name: tool\nchannels: [defaults]\ndependencies: [tool]\n")
    two.json("register", "tool.yml", "--python", "none", *BOTH)
    done = two.envbuild("export", "tool", "oci:image")
    assert done.returncode == 0, done.stderr
    listed = json.loads((two.folder / "image/index.json").read_text())["manifests"][0]
    assert listed["digest"] == record(two, "tool")["index"]["digest"]
    for architecture in ("amd64", "arm64"):
        line = [skopeo, "--override-arch", architecture, "inspect", "--config", f"oci:{two.folder}/image:1"]
        shown = subprocess.run(line, capture_output=True, text=True, check=True)
        assert json.loads(shown.stdout)["architecture"] == architecture


def test_the_lock_of_two_platforms_is_registered_as_it_is(two: Project) -> None:
    two.write("tool.yml", "name: tool\nchannels: [defaults]\ndependencies: [tool]\n")
    first = two.json("register", "tool.yml", "--python", "none", *BOTH)
    two.write("conda-lock.yml", (two.home / "environments/tool/1/conda-lock.yml").read_text())
    both = two.json("register", "conda-lock.yml", "--name", "both")
    assert both["environment_id"] == first["environment_id"]
    one = two.json("register", "conda-lock.yml", "--name", "one", "--platform", "linux-aarch64")
    assert one["image"]["digest"] == record(two, "tool")["images"]["linux-aarch64"]["digest"]


def test_wheels_of_the_foreign_platform_and_no_compiled_python(two: Project) -> None:
    two.write(
        "web.yml", "name: web\nchannels: [defaults]\ndependencies: [python=3.11, pip, pip: [markupsafe==3.0.2, six]]\n"
    )
    done = two.envbuild("register", "web.yml", *BOTH, "--json")
    assert done.returncode == 0, done.stderr
    assert "so its image is without compiled Python files (.pyc)" in done.stderr
    lock = (two.home / "environments/web/1/conda-lock.yml").read_text()
    assert "manylinux_2_17_aarch64" in lock
    assert "manylinux_2_17_x86_64" in lock
    trees = {
        name: [two.home / "trees" / layer["tree"] for layer in image["layers"][1:]]
        for name, image in record(two, "web")["images"].items()
    }
    compiled = {
        name: [file for tree in found for file in tree.rglob("site-packages/__pycache__/six*.pyc")]
        for name, found in trees.items()
    }
    assert len(compiled["linux-64"]) == 1
    assert compiled["linux-aarch64"] == []
    foreign = next(file for tree in trees["linux-aarch64"] for file in tree.rglob("_speedups*.so"))
    assert foreign.read_bytes()[18:20] == b"\xb7\x00"  # EM_AARCH64 (ELF specification)


def test_a_base_that_is_not_pinned_for_a_platform_is_a_sentence(two: Project) -> None:
    two.write("tool.yml", "name: tool\nchannels: [defaults]\ndependencies: [tool]\n")
    line = ("register", "tool.yml", "--python", "none", "--platform", "linux-aarch64")
    done = two.envbuild(*line, "--base", "debian12-openmpi")
    assert done.returncode == 2
    assert "debian12-openmpi is not pinned for linux-aarch64; bases that are: debian12-minimal" in done.stderr
    done = two.envbuild(*line[:-1], "osx-arm64")
    assert (done.returncode, "the platform 'osx-arm64' is unknown" in done.stderr) == (2, True)


def test_conda_lock_reads_both_platforms(two: Project) -> None:
    two.write("tool.yml", "name: tool\nchannels: [defaults]\ndependencies: [tool]\n")
    assert two.envbuild("register", "tool.yml", "--python", "none", *BOTH, "--no-build").returncode == 0
    from conda_lock.lockfile import parse_conda_lock_file

    found = parse_conda_lock_file(two.folder / "conda-lock.yml")
    assert sorted(each.platform for each in found.package) == ["linux-64", "linux-aarch64"]
    assert found.metadata.platforms == ["linux-64", "linux-aarch64"]


def test_a_missing_cuda_says_what_to_set_and_the_file_can_say_it(two: Project, channel_of_two: Path) -> None:
    two.write("gpu.yml", "name: gpu\nchannels: [defaults]\ndependencies: [gpu-tool]\n")
    line = ("register", "gpu.yml", "--python", "none")
    done = two.envbuild(*line, env={"CONDA_OVERRIDE_CUDA": "12.4"})
    assert done.returncode == 2
    assert "__cuda is what the machines have, and is never read from this one" in done.stderr
    assert '[virtual-packages.linux-64] __cuda = "12.4"' in done.stderr
    two.write("gpu.yml", "name: gpu\nchannels: [defaults]\ndependencies: [gpu-tool, __cuda=12.4]\n")
    made = two.json(*line)
    assert made["status"] == "built"
    assert record(two, "gpu")["spec_ingredients"]["virtual_packages"] == {"__cuda": "12.4"}


def elsewhere(project: Project, tmp_path: Path) -> Project:
    """The same project on another machine: nothing in its home but what the base is."""
    copy_pins(project.home, tmp_path / "elsewhere-home")
    return Project(project.folder, tmp_path / "elsewhere-home")


def skopeo(*line: str) -> dict[str, Any]:
    done = subprocess.run([need("skopeo"), *line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_what_is_pushed_is_one_index_of_both_and_others_read_it(two: Project, registry: str, tmp_path: Path) -> None:
    two.write("tool.yml", "name: tool\nchannels: [defaults]\ndependencies: [tool]\n")
    two.json("register", "tool.yml", "--python", "none", *BOTH)
    pushed = two.json("push", "tool", f"{registry}/team/tool")
    place = f"docker://{registry}/team/tool:1"
    raw = skopeo("inspect", "--tls-verify=false", "--raw", place)
    assert raw["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert [each["platform"]["architecture"] for each in raw["manifests"]] == ["amd64", "arm64"]
    made = record(two, "tool")
    for architecture, name in (("amd64", "linux-64"), ("arm64", "linux-aarch64")):
        shown = skopeo("--override-arch", architecture, "inspect", "--tls-verify=false", place)
        assert (shown["Architecture"], len(shown["Layers"])) == (architecture, len(made["images"][name]["layers"]))
    copy = [need("skopeo"), "copy", "--all", "--src-tls-verify=false", place, f"oci:{tmp_path / 'copy'}:1"]
    assert subprocess.run(copy, capture_output=True, check=False).returncode == 0
    copied = json.loads((tmp_path / "copy/index.json").read_text())["manifests"][0]
    assert copied["digest"] == pushed["digest"]
    again = two.json("push", "tool", f"{registry}/team/tool")
    assert (again["digest"], again["bytes_sent"], again["layers"]["sent"]) == (pushed["digest"], 0, 0)
    listing = f"docker://{registry}/team/tool:{pushed['digest'].replace(':', '-')}"
    files = skopeo("inspect", "--tls-verify=false", "--raw", listing)
    assert len(files["manifests"]) == len(pushed["files"])


def test_what_is_pulled_has_both_platforms_and_runs_here(two: Project, registry: str, tmp_path: Path) -> None:
    two.write("both.yml", "name: both\nchannels: [defaults]\ndependencies: [python=3.11, tool]\n")
    two.json("register", "both.yml", *BOTH)
    two.json("push", "both", f"{registry}/team/both")
    other = elsewhere(two, tmp_path)
    pulled = other.json("pull", f"{registry}/team/both:1")
    made, there = record(two, "both"), record(other, "both")
    assert (pulled["environment"], pulled["status"], pulled["index"]) == ("both:1", "pulled", made["index"]["digest"])
    assert sorted(there["images"]) == ["linux-64", "linux-aarch64"]
    for name, image in there["images"].items():
        assert image["digest"] == made["images"][name]["digest"]
        assert all((other.home / "trees" / layer["tree"]).is_dir() for layer in image["layers"])
    assert there["image"] == there["images"]["linux-64"]
    shown = other.json("env", "show", "both:1")
    assert (shown["environment_id"], shown["index"]) == (made["environment_id"], made["index"])
    done = other.envbuild("export", "both", "oci:image")
    assert done.returncode == 0, done.stderr
    listed = json.loads((other.folder / "image/index.json").read_text())["manifests"][0]
    assert listed["digest"] == made["index"]["digest"]
    two.write("src/hello.py", "import subprocess\nsubprocess.run(['tool'], check=True)\n")
    done = other.envbuild("run", "src", "hello.py", "--env", "both:1")
    assert done.returncode == 0 and "linux-64" in done.stdout, done.stderr
    again = other.json("pull", f"{registry}/team/both:1", "--platform", "linux-aarch64")
    assert (again["environment"], again["status"], again["layers"]["unpacked"]) == ("both:1", "there", 0)


def test_the_shared_repository_answers_a_request_of_both_platforms(two: Project, registry: str, tmp_path: Path) -> None:
    two.write("tool.yml", "name: tool\nchannels: [defaults]\ndependencies: [tool]\n")
    settings = (two.folder / "envbuild.toml").read_text()
    two.write("envbuild.toml", f'{settings}[registry]\nrepository = "{registry}/team/cache"\n')
    two.json("register", "tool.yml", "--python", "none", *BOTH)
    pushed = two.json("push", "tool")
    assert [tag.partition("-")[0] for tag in pushed["tags"]] == ["tool", "env", "request", "spec"]
    other = elsewhere(two, tmp_path)
    second = other.json("register", "tool.yml", "--python", "none", *BOTH)
    assert (second["status"], second["version"]) == ("pulled", 1)
    assert record(other, "tool")["index"] == record(two, "tool")["index"]
    assert not (other.home / "packages").exists()


def test_an_archive_of_both_platforms_with_all_packages_is_imported(two: Project, tmp_path: Path) -> None:
    two.write("tool.yml", "name: tool\nchannels: [defaults]\ndependencies: [tool]\n")
    two.json("register", "tool.yml", "--python", "none", *BOTH)
    done = two.json("export", "tool", "oci-archive:tool.tar", "--with-packages")
    assert done["digest"] == record(two, "tool")["index"]["digest"]
    other = elsewhere(two, tmp_path)
    assert other.json("import", "tool.tar")["status"] == "restored"
    there, here = record(other, "tool"), record(two, "tool")
    assert there["index"] == here["index"]
    assert {name: each["digest"] for name, each in there["images"].items()} == {
        name: each["digest"] for name, each in here["images"].items()
    }
    locks = read_locks(other.home / "environments/tool/1/conda-lock.yml")
    assert [lock.platform for lock in locks] == ["linux-64", "linux-aarch64"]
    for package in [package for lock in locks for package in lock.packages]:
        assert (other.home / "packages" / package.sha256 / package.filename).is_file(), package.url


def test_a_reason_names_the_platform_where_only_one_differs(two: Project) -> None:
    text = "name: web\nchannels: [defaults]\ndependencies:\n- python=3.11\n- pip\n- pip:\n"
    two.write("web.yml", text + "  - six==1.16.0\n")
    two.json("register", "web.yml")
    done = two.envbuild("register", "web.yml", *BOTH)
    assert done.returncode == 0 and "new build: + platform linux-aarch64\n" in done.stderr
    arm = "  - six==1.17.0; platform_machine == 'aarch64'\n  - six==1.16.0; platform_machine != 'aarch64'\n"
    two.write("web.yml", text + arm)
    assert two.envbuild("env", "explain", "web.yml", *BOTH).stdout.splitlines() == [
        "web.yml is another request than that of web:2:",
        '  web.yml:8: six ==1.16.0 -> ==1.16.0 ; platform_machine != "aarch64"',
        '  web.yml:7: + six==1.17.0 ; platform_machine == "aarch64"',
    ]
    done = two.envbuild("register", "web.yml", *BOTH)
    assert done.returncode == 0 and "new build: linux-aarch64: six 1.16.0 -> 1.17.0\n" in done.stderr
    shown = two.envbuild("env", "explain", "web").stdout.splitlines()
    assert shown[0] == "web:3 is another environment than web:2:"
    assert shown[-1] == "  linux-aarch64: six 1.16.0 -> 1.17.0"
    assert "linux-64: six" not in "".join(shown)
    shown = two.envbuild("env", "diff", "web:2", "web:3").stdout.splitlines()
    assert shown[0] == "linux-aarch64: six 1.16.0 -> 1.17.0"
    assert shown[1].startswith("linux-64: 0 of ") and shown[2].startswith("linux-aarch64: 1 of ")
    found = two.json("env", "diff", "web:2", "web:3")
    assert [(each["after"]["platform"], each["after"]["version"]) for each in found["packages"]["changed"]] == [
        ("linux-aarch64", "1.17.0")
    ]
    assert found["platforms"]["linux-64"]["bytes_to_pull"] == 0
    assert found["platforms"]["linux-aarch64"]["bytes_to_pull"] == found["bytes_to_pull"] > 0
    assert two.envbuild("env", "explain", "web:1", "web:2").stdout.splitlines()[1:] == ["  + platform linux-aarch64"]
    locked = two.json("env", "lock", "web", "--platform", "linux-aarch64")["packages"]
    assert [each["version"] for each in locked if each["name"] == "six"] == ["1.17.0"]


def test_explain_reads_a_lock_file_of_two_platforms(two: Project) -> None:
    two.write("tool.yml", "name: tool\nchannels: [defaults]\ndependencies: [tool]\n")
    two.json("register", "tool.yml", "--python", "none", *BOTH)
    two.write("conda-lock.yml", (two.home / "environments/tool/1/conda-lock.yml").read_text())
    assert two.envbuild("env", "explain", "conda-lock.yml", "--name", "tool").stdout.splitlines() == [
        "conda-lock.yml is another request than that of tool:1:",
        "  a lock decides every package; before, it was a request that was solved",
    ]
    two.write("tool.yml", "name: tool\nchannels: [defaults]\ndependencies: [tool, python=3.11]\n")
    two.envbuild("register", "tool.yml", *BOTH, "--no-build")
    shown = two.envbuild("env", "explain", "conda-lock.yml", "--name", "tool").stdout
    locks = read_locks(two.folder / "conda-lock.yml")
    added = {lock.platform: each.version for lock in locks for each in lock.packages if each.name == "python"}
    if len(set(added.values())) == 1:  # this machine's Python is Debian's, too
        assert f"\n  + python {added['linux-64']}\n" in shown
    else:
        assert all(f"\n  {name}: + python {version}\n" in shown for name, version in added.items())
