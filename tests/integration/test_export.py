"""What we write is read by programs that no one here wrote: skopeo, umoci, conda-lock."""

import json
import subprocess
import sys
from pathlib import Path

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


def test_skopeo_reads_and_copies_it(image: Path, project: Project, tmp_path: Path) -> None:
    skopeo = need("skopeo")
    shown = json.loads(run(skopeo, "inspect", f"oci:{image}:1"))
    record = project.json("env", "show", "small")
    assert shown["Digest"] == record["image"]["digest"]
    assert shown["Layers"] == [layer["diff_id"] for layer in record["image"]["layers"]]
    run(skopeo, "copy", f"oci:{image}:1", f"docker-archive:{tmp_path / 'image.tar'}:small:1")
    assert (tmp_path / "image.tar").stat().st_size > 10_000_000


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
    assert done.returncode == 1
    assert (project.folder / "taken/file").read_text() == "mine"
