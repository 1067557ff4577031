"""Environments leave as archives and come back on a machine without a network, or are refused whole."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Project, copy_pins, need


@pytest.fixture
def sent(project: Project) -> Path:
    """An archive of the small environment with its packages."""
    project.json("register", "environment.yml")
    project.json("export", "small", "oci-archive:small.tar", "--with-packages")
    return project.folder / "small.tar"


@pytest.fixture
def away(new_project: Callable[[str], Project], tmp_path: Path) -> Project:
    """A machine with nothing: no channel, not even the base."""
    project = new_project("away")
    return Project(project.folder, tmp_path / "empty-home")


def entries(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {each.name: content.read() for each in tar if (content := tar.extractfile(each))}


def write(archive: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(archive, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive


def test_an_archive_has_the_same_bytes_each_time(sent: Path, project: Project) -> None:
    project.json("export", "small", "oci-archive:again.tar", "--with-packages")
    assert (project.folder / "again.tar").read_bytes() == sent.read_bytes()


def test_an_imported_environment_is_the_same_and_runs(sent: Path, project: Project, away: Project) -> None:
    document = away.json("import", sent)
    here = project.json("env", "show", "small")
    assert (document["status"], document["unpacked"], document["imported_packages"] > 3) == ("restored", 6, True)
    there = away.json("env", "show", "small:1")
    for key in ("environment_id", "spec_key", "lock_digest", "registered"):
        assert there[key] == here[key]
    assert there["image"]["digest"] == here["image"]["digest"]
    folders = [each.home / "environments/small/1" for each in (project, away)]
    for file in ("conda-lock.yml", "spec.yml", "20_image_build_log.txt"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()
    away.write("src/train.py", "import jinja2\nprint(jinja2.Template('{{ 6 * 7 }}').render())\n")
    done = away.envbuild("run", "--no-network", "src", "train.py")
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert away.json("import", sent)["status"] == "there"


def test_imported_packages_build_the_next_environment(sent: Path, project: Project, away: Project) -> None:
    away.json("import", sent)
    lock = json.loads(json.dumps(project.json("env", "show", "small")))["ingredients"]["packages"]
    for sha256 in lock.values():
        (file,) = (away.home / "packages" / sha256).iterdir()
        assert hashlib.sha256(file.read_bytes()).hexdigest() == sha256


def test_what_was_imported_is_built_again_without_any_network(sent: Path, away: Project, seed: Path) -> None:
    """Base and all: verify makes everything anew, where no mirror, no channel and no address can be reached."""
    copy_pins(seed, away.home)
    away.json("import", sent)
    away.write("envbuild.toml", '[virtual-packages]\nlinux-64 = { __glibc = "2.36" }\n')
    away.json("gc")  # which leaves what building again needs
    apart = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    done = subprocess.run(
        [*apart, sys.executable, "-m", "envbuild", "verify", "small"], cwd=away.folder,
        env={**os.environ, "ENVBUILD_HOME": str(away.home), "APT_CONFIG": "/dev/null"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "building the base debian12-minimal:" in done.stderr


def test_a_folder_is_imported_too(sent: Path, project: Project, away: Project) -> None:
    project.json("export", "small", "oci:image", "--with-packages")
    assert away.json("import", f"oci:{project.folder / 'image'}", "--name", "other")["status"] == "restored"
    assert away.json("env", "show", "other:1")["packages"] == project.json("env", "show", "small")["packages"]


def test_other_tools_read_the_archive(sent: Path, project: Project, tmp_path: Path) -> None:
    skopeo = need("skopeo")
    digest = project.json("env", "show", "small")["image"]["digest"]
    line = [skopeo, "inspect", f"oci-archive:{sent}:1"]
    assert json.loads(subprocess.run(line, check=True, capture_output=True).stdout)["Digest"] == digest
    project.json("export", "small", "docker-archive:docker.tar")
    line = [skopeo, "copy", f"docker-archive:{project.folder / 'docker.tar'}", f"oci:{tmp_path / 'copy'}:1"]
    subprocess.run(line, check=True, capture_output=True)
    index = json.loads((tmp_path / "copy/index.json").read_text())
    manifest = index["manifests"][0]["digest"].replace(":", "/")
    config = json.loads((tmp_path / "copy/blobs" / manifest).read_text())["config"]["digest"].replace(":", "/")
    diff_ids = json.loads((tmp_path / "copy/blobs" / config).read_text())["rootfs"]["diff_ids"]
    assert diff_ids == [layer["diff_id"] for layer in project.json("env", "show", "small")["image"]["layers"]]


def change_a_layer(files: dict[str, bytes]) -> None:
    name = max(files, key=lambda each: len(files[each]))
    files[name] = files[name].replace(b"Python", b"Pithon", 1)


def drop_a_layer(files: dict[str, bytes]) -> None:
    del files[max(files, key=lambda each: len(files[each]))]


def climb(files: dict[str, bytes]) -> None:
    files["../../escape"] = b"hostile"


def bring_more(files: dict[str, bytes]) -> None:
    files["etc/passwd"] = b"hostile"


def claim_another_name(files: dict[str, bytes]) -> None:
    """The record says another name that climbs out; the artifact's digests are made to fit."""
    index: Any = json.loads(files["index.json"])
    entry = next(each for each in index["manifests"] if "environment" in each.get("artifactType", ""))
    manifest = json.loads(blob(files, entry["digest"]))
    layer = next(each for each in manifest["layers"] if "environment.json" in each["annotations"].values())
    record = {**json.loads(blob(files, layer["digest"])), "name": "../../escape"}
    layer["digest"], layer["size"] = put(files, json.dumps(record).encode())
    entry["digest"], entry["size"] = put(files, json.dumps(manifest).encode())
    files["index.json"] = json.dumps(index).encode()


def blob(files: dict[str, bytes], digest: str) -> bytes:
    return files[f"blobs/{digest.replace(':', '/')}"]


def put(files: dict[str, bytes], content: bytes) -> tuple[str, int]:
    name = hashlib.sha256(content).hexdigest()
    files[f"blobs/sha256/{name}"] = content
    return f"sha256:{name}", len(content)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (change_a_layer, "is damaged: the blob sha256|not what was promised"),
        (drop_a_layer, "lacks the blob sha256:"),
        (climb, "'../../escape', which no image layout has; refused"),
        (bring_more, "'etc/passwd', which no image layout has; refused"),
        (claim_another_name, "'../../escape' cannot name an environment"),
    ],
)
def test_a_harmful_archive_is_refused_and_registers_nothing(
    sent: Path, away: Project, tmp_path: Path, harm: Callable[[dict[str, bytes]], None], reason: str
) -> None:
    files = entries(sent)
    harm(files)
    done = away.envbuild("import", write(tmp_path / "harmful.tar", files))
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    assert any(each in done.stderr for each in reason.split("|")), done.stderr
    assert not (away.home / "environments").exists()
    assert not (tmp_path / "escape").exists()


def test_links_in_an_archive_are_refused(sent: Path, away: Project) -> None:
    with tarfile.open(sent, "a") as tar:
        link = tarfile.TarInfo("manifest.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    done = away.envbuild("import", sent)
    assert (done.returncode, "which is no plain file; refused" in done.stderr) == (2, True), done.stderr


def test_what_is_no_archive_is_a_sentence(away: Project, project: Project) -> None:
    away.write("notes.txt", "nothing")
    for source, sentence in (
        ("notes.txt", "notes.txt is no tar archive"),
        ("absent.tar", "absent.tar is not there"),
        ("oci:", "'oci:' names no archive"),
        ("docker-archive:image.tar", "a docker-archive holds an image and no environment"),
        ("oci:.", ". is no OCI image layout: it has no oci-layout"),
    ):
        done = away.envbuild("import", source)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1) and f"error: {sentence}" in done.stderr
    project.json("register", "environment.yml")
    project.json("export", "small", "docker-archive:docker.tar")
    done = away.envbuild("import", project.folder / "docker.tar")
    assert done.returncode == 2 and "it has no oci-layout, as a docker-archive" in done.stderr
    project.json("export", "small", "oci:image")
    done = away.envbuild("import", f"oci:{project.folder / 'image'}", "--name", "")
    assert done.returncode == 2 and "'' cannot name an environment" in done.stderr


def test_an_export_that_cannot_be_finished_leaves_the_old_file(project: Project) -> None:
    project.json("register", "environment.yml")
    project.write("small.tar", "the old one")
    record = project.json("env", "show", "small")
    tree = project.home / "trees" / record["image"]["layers"][-1]["tree"]
    victim = next(path for path in sorted(tree.rglob("*.json")))
    text = victim.read_text()
    victim.unlink()
    victim.write_text(text + " ")
    done = project.envbuild("export", "small", "oci-archive:small.tar")
    assert done.returncode == 1 and "no longer holds what was built" in done.stderr
    assert (project.folder / "small.tar").read_text() == "the old one"
    assert not list(project.folder.glob(".tmp-*"))


def test_what_a_killed_export_left_is_removed_by_the_next_one_there(project: Project) -> None:
    project.json("register", "environment.yml")
    project.write(".tmp-4711-0123abcd", "half of an archive")
    project.json("export", "small", "oci-archive:small.tar")
    assert not list(project.folder.glob(".tmp-*"))


def test_a_home_folder_behind_a_colon_is_the_user_s(project: Project, tmp_path: Path) -> None:
    project.json("register", "environment.yml")
    env = {"HOME": str(tmp_path / "user")}
    (tmp_path / "user").mkdir()
    project.json("export", "small", "oci-archive:~/small.tar", env=env)
    assert (tmp_path / "user/small.tar").is_file()
    assert project.json("import", "oci-archive:~/small.tar", env=env)["status"] == "there"
