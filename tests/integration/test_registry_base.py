"""Bases from registries: images that others made, in Docker's and OCI's formats, with whiteouts and devices."""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import requests
from harness import Project, need

from envbuild.builder.bases.base import ensure_base
from envbuild.builder.report import Silent
from envbuild.settings import Settings
from registry import Proxy


class Foreign:
    """An image made with tar and JSON alone, pushed by skopeo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs/sha256"
        self.blobs.mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def put(self, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    def write(self, layers: list[bytes], env: list[str], architecture: str = "amd64") -> None:
        described = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **self.put(layer)} for layer in layers]
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": env},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in described]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                **self.put(json.dumps(config).encode()),
            },
            "layers": described,
        }
        entry = {"mediaType": manifest["mediaType"], **self.put(json.dumps(manifest).encode())}
        entry["annotations"] = {"org.opencontainers.image.ref.name": "1"}
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))

    def push(self, place: str, kind: str) -> str:
        line = ["copy", "--dest-tls-verify=false", "--format", kind, f"oci:{self.folder}:1", f"docker://{place}"]
        done = subprocess.run([need("skopeo"), *line], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        name, _, tag = place.partition("/")[2].rpartition(":")
        types = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
        url = f"http://{place.partition('/')[0]}/v2/{name}/manifests/{tag}"
        answer = requests.get(url, headers={"Accept": types}, timeout=60)
        return f"sha256:{hashlib.sha256(answer.content).hexdigest()}"


def tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for member, content in entries:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def entry(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, uid: int = 0
) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.uid, member.mtime = kind, 0o755 if kind == tarfile.DIRTYPE else 0o640, uid, 99
    return member, content


def make(folder: Path, seed: Path, greeting: str = "hello", architecture: str = "amd64", times: int = 1) -> Foreign:
    """Debian, a layer with foreign owners and a device, and one that takes a file away; the last two some `times`."""
    image = Foreign(folder)
    base = ensure_base("debian12-minimal", Settings(home=seed), Silent())
    done = subprocess.run(["tar", "-C", base.trees[0], "-cf", "-", "."], capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: another home linked to a file meanwhile, so its ctime changed
    debian = done.stdout
    tools = tar(
        entry("usr/share/team", kind=tarfile.DIRTYPE),
        entry("usr/share/team/greeting", greeting.encode(), uid=4711),
        entry("usr/share/team/secret", b"not for you"),
        entry("usr/share/team/null", kind=tarfile.CHRTYPE),
    )
    cleaned = tar(entry("usr/share/team/.wh.secret"))
    path = "PATH=/usr/share/team/bin:/usr/bin:/bin"
    image.write([debian, *[tools, cleaned] * times], [path, f"TEAM={greeting}"], architecture)
    return image


def with_base(project: Project, image: str) -> None:
    text = (project.folder / "envbuild.toml").read_text().partition("[bases]")[0]
    project.write("envbuild.toml", f'{text}[bases]\nteam = {{ image = "{image}" }}\n')


SCRIPT = """
import os, jinja2
print(open("/usr/share/team/greeting").read(), os.path.exists("/usr/share/team/secret"), os.environ["TEAM"])
print(os.environ["PATH"])
"""


def test_a_base_may_have_a_layer_several_times(project: Project, registry: str, seed: Path, tmp_path: Path) -> None:
    make(tmp_path / "foreign", seed, times=2).push(f"{registry}/team/base:1", "oci")
    with_base(project, f"{registry}/team/base:1")
    built = project.json("register", "environment.yml", "--base", "team")
    project.write("src/show.py", SCRIPT)
    shown = project.envbuild("run", "src", "show.py")
    assert (shown.returncode, "hello False hello" in shown.stdout) == (0, True), shown.stderr
    project.json("push", "small", f"{registry}/team/small")
    other = Project(project.folder, tmp_path / "elsewhere-home")
    assert other.json("pull", f"{registry}/team/small:1")["digest"] == built["image"]["digest"]
    assert project.json("verify", "small")["findings"] == []


@pytest.mark.parametrize("kind", ["oci", "v2s2"])
def test_an_environment_stands_on_an_image_that_others_made(
    project: Project, registry: str, seed: Path, tmp_path: Path, kind: str
) -> None:
    digest = make(tmp_path / "foreign", seed).push(f"{registry}/team/base:1", kind)
    with_base(project, f"{registry}/team/base@{digest}")
    built = project.json("register", "environment.yml", "--base", "team")
    project.write("src/show.py", SCRIPT)
    shown = project.envbuild("run", "src", "show.py")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[-2:] == [
        "hello False hello",
        "/opt/env/bin:/usr/share/team/bin:/usr/bin:/bin",
    ]
    titles = [layer["title"] for layer in built["image"]["layers"]]
    assert titles[:3] == ["base team:1, layer 1", "base team:1, layer 2", "base team:1, layer 3"]

    pushed = project.json("push", "small", f"{registry}/team/small")
    assert pushed["layers"]["mounted"] == 3  # the base's own blobs, as they came
    other = Project(project.folder, tmp_path / "elsewhere-home")
    pulled = other.json("pull", f"{registry}/team/small:1")
    assert (pulled["status"], pulled["digest"]) == ("pulled", built["image"]["digest"])
    again = other.envbuild("run", "src", "show.py", "--env", "small:1")
    assert "hello False hello" in again.stdout, again.stderr
    project.json("export", "small", "oci:image")
    other.json("export", "small", "oci:image2")
    done = subprocess.run(
        [need("skopeo"), "copy", f"oci:{project.folder / 'image'}:1", f"oci:{tmp_path / 'copy'}:1"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    listed = [json.loads((project.folder / each / "manifest.json").read_text()) for each in ("image", "image2")]
    assert listed[0][0]["Layers"] == listed[1][0]["Layers"]


def test_a_tag_is_asked_for_once_and_moves_by_update(
    project: Project, proxy: Proxy, registry: str, seed: Path, tmp_path: Path
) -> None:
    first = make(tmp_path / "one", seed).push(f"{registry}/team/base:stable", "oci")
    with_base(project, f"{proxy.address}/team/base:stable")
    rows = {row["name"]: row for row in project.json("base", "list")}
    assert (rows["team"]["version"], rows["team"]["built"]) == (0, False)
    built = project.json("register", "environment.yml", "--base", "team")
    shown = project.json("base", "show", "team")
    assert (shown["digest"], shown["version"], shown["built"], len(shown["layers"])) == (first, 1, True, 3)

    second = make(tmp_path / "two", seed, "good day").push(f"{registry}/team/base:stable", "oci")
    proxy.forget()
    assert project.json("register", "environment.yml", "--base", "team")["status"] == "reused"
    assert proxy.seen == []
    planned = project.json("base", "update", "team", "--dry-run")
    assert planned["version"] == 2
    assert f"digest  {first} -> {second}" in planned["changes"]
    assert "TEAM  hello -> good day" in planned["changes"]
    assert planned["changes"][1].startswith("layers  3 -> 3, 1 of them new (")
    assert project.json("base", "show", "team")["digest"] == first
    assert project.json("base", "update", "team") == planned
    assert project.json("base", "update", "team")["changes"] == []
    moved = project.json("register", "environment.yml", "--base", "team")
    assert (moved["status"], moved["version"]) == ("built", 2)
    assert moved["environment_id"] != built["environment_id"]
    project.json("gc")
    assert project.json("register", "environment.yml", "--base", "team")["status"] == "reused"


def test_the_platform_is_chosen_out_of_an_index(project: Project, registry: str, seed: Path, tmp_path: Path) -> None:
    entries = []
    for architecture in ("s390x", "amd64"):
        image = make(tmp_path / architecture, seed, architecture, architecture)
        digest = image.push(f"{registry}/team/base:{architecture}", "oci")
        manifest = requests.get(
            f"http://{registry}/v2/team/base/manifests/{digest}",
            headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
            timeout=60,
        )
        platform = {"os": "linux", "architecture": architecture}
        entries.append(
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest,
                "size": len(manifest.content),
                "platform": platform,
            }
        )
    kind = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode()
    url = f"http://{registry}/v2/team/base/manifests/both"
    assert requests.put(url, data=index, headers={"Content-Type": kind}, timeout=60).status_code == 201
    with_base(project, f"{registry}/team/base@sha256:{hashlib.sha256(index).hexdigest()}")
    built = project.json("register", "environment.yml", "--base", "team")
    project.write("src/show.py", SCRIPT)
    assert "amd64 False amd64" in project.envbuild("run", "src", "show.py").stdout
    assert built["status"] == "built"
    done = project.envbuild("register", "environment.yml", "--base", "team", "--platform", "linux-aarch64")
    assert done.returncode != 0
    assert "has no image for linux/arm64" in done.stderr and "it has linux/amd64, linux/s390x" in done.stderr


def test_a_layer_of_a_base_that_was_changed_is_refused(
    project: Project, registry: str, seed: Path, tmp_path: Path
) -> None:
    digest = make(tmp_path / "foreign", seed).push(f"{registry}/team/base:1", "oci")
    victim = max((tmp_path / "registry/data").rglob("data"), key=lambda each: each.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[1000] ^= 1
    victim.write_bytes(data)
    with_base(project, f"{registry}/team/base@{digest}")
    done = project.envbuild("register", "environment.yml", "--base", "team")
    assert done.returncode == 1
    assert "it was damaged on the way or in the registry" in done.stderr
    assert not (project.home / "environments").exists()


def test_a_base_that_is_not_there_is_named(project: Project, registry: str) -> None:
    with_base(project, f"{registry}/team/base:nothing")
    done = project.envbuild("register", "environment.yml", "--base", "team")
    assert done.returncode == 1
    assert f"{registry}/team/base:nothing is not in the registry" in done.stderr
