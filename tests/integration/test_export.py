"""What we write is read by programs that no one here wrote: skopeo, umoci, conda-lock."""

import hashlib
import json
import re
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from harness import Project, need


def run(*line: str | Path) -> str:
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def image(project: Project) -> Path:
    project.json("register", "environment.yml")
    project.json("export", "small", "oci:image")
    return project.folder / "image"


def test_the_documents_follow_the_image_specification(image: Path) -> None:
    """OCI image specification 1.1: image-layout.md, image-index.md, manifest.md, descriptor.md, config.md."""
    assert json.loads((image / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((image / "index.json").read_text())
    assert (index["schemaVersion"], index["mediaType"]) == (2, "application/vnd.oci.image.index.v1+json")
    manifest = read_blob(image, index["manifests"][0])
    assert (manifest["schemaVersion"], manifest["mediaType"]) == (2, "application/vnd.oci.image.manifest.v1+json")
    config = read_blob(image, manifest["config"])
    assert (config["os"], config["architecture"], config["rootfs"]["type"]) == ("linux", "amd64", "layers")
    assert datetime.fromisoformat(config["created"].replace("Z", "+00:00")).tzinfo is not None
    assert all(re.fullmatch(r"[A-Za-z_]\w*=.*", each) for each in config["config"]["Env"])
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        data = blob_path(image, layer).read_bytes()
        assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar"
        assert (len(data), f"sha256:{hashlib.sha256(data).hexdigest()}") == (layer["size"], layer["digest"])
        assert diff_id == layer["digest"]  # the layer is not compressed
    for document in (manifest, config["config"]):
        texts = document.get("annotations") or document["Labels"]
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in texts.items())


def blob_path(image: Path, descriptor: dict[str, Any]) -> Path:
    return image / "blobs" / descriptor["digest"].replace(":", "/")


def read_blob(image: Path, descriptor: dict[str, Any]) -> Any:
    data = blob_path(image, descriptor).read_bytes()
    assert len(data) == descriptor["size"]
    return json.loads(data)


def test_skopeo_reads_and_copies_it(image: Path, project: Project, tmp_path: Path) -> None:
    skopeo = need("skopeo")
    shown = json.loads(run(skopeo, "inspect", f"oci:{image}:1"))
    record = project.json("env", "show", "small")
    assert shown["Digest"] == record["image"]["digest"]
    assert shown["Layers"] == [layer["diff_id"] for layer in record["image"]["layers"]]
    run(skopeo, "copy", f"oci:{image}:1", f"docker-archive:{tmp_path / 'image.tar'}:small:1")
    assert (tmp_path / "image.tar").stat().st_size > 10_000_000


def test_export_prints_how_skopeo_finds_the_image(project: Project) -> None:
    need("skopeo")
    project.json("register", "environment.yml")
    done = project.envbuild("export", "small", "oci:the image")
    said = "other tools find the image by its tag, for instance: "
    (line,) = (each.removeprefix(said) for each in done.stderr.splitlines() if each.startswith(said))
    shown = subprocess.run(shlex.split(line), cwd=project.folder, capture_output=True, text=True, check=False)
    assert json.loads(shown.stdout)["Digest"] == project.json("env", "show", "small")["image"]["digest"]


def test_a_tag_in_a_destination_is_refused(project: Project) -> None:
    done = project.envbuild("export", "small", "oci:out/image:2")
    assert done.returncode == 2
    assert "'oci:out/image:2': other tools take what follows the colon for a tag" in done.stderr
    assert done.stderr.endswith("write oci:out/image\n")
    assert not (project.folder / "out").exists()


def test_umoci_unpacks_a_python_that_runs(image: Path, tmp_path: Path) -> None:
    umoci = need("umoci")
    run(umoci, "unpack", "--rootless", "--image", f"{image}:1", tmp_path / "bundle")
    root = tmp_path / "bundle" / "rootfs"
    assert (root / "opt/env/bin/python").is_symlink()
    assert "Template" in (root / "opt/env/lib/python3.11/site-packages/jinja2/__init__.py").read_text()


def test_conda_lock_renders_the_lock(project: Project) -> None:
    project.json("register", "environment.yml")
    lock = project.home / "environments/small/1/conda-lock.yml"
    conda_lock = Path(sys.executable).with_name("conda-lock")
    done = subprocess.run(
        [conda_lock, "render", "--kind", "explicit", "--platform", "linux-64", lock],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rendered = (project.folder / "conda-linux-64.lock").read_text()
    assert "@EXPLICIT" in rendered and "jinja2-3.1.6" in rendered


def test_a_layer_that_was_tampered_with_is_refused(project: Project) -> None:
    project.json("register", "environment.yml")
    record = project.json("env", "show", "small")
    tree = project.home / "trees" / record["image"]["layers"][1]["tree"]
    victim = next(path for path in sorted(tree.rglob("*.py")) if path.is_file())
    data = victim.read_bytes()
    victim.unlink()
    victim.write_bytes(data + b"# changed\n")
    done = project.envbuild("export", "small", "oci:image")
    assert done.returncode == 1
    assert "no longer holds what was built" in done.stderr
    assert not (project.folder / "image").exists()


def test_a_folder_in_use_is_not_overwritten(project: Project) -> None:
    project.json("register", "environment.yml")
    project.write("taken/file", "mine")
    done = project.envbuild("export", "small", "oci:taken")
    assert (done.returncode, "taken is not empty; name a new folder" in done.stderr) == (2, True)
    assert (project.folder / "taken/file").read_text() == "mine"
