"""`envbuild verify` of what stands on a base from a registry."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Project
from test_registry_base import make, with_base

from registry import docker_registry


@pytest.fixture
def on_team(project: Project, registry: str, seed: Path, tmp_path: Path) -> Project:
    """`small:1`, registered on the base `team` of the registry."""
    make(tmp_path / "foreign", seed).push(f"{registry}/team/base:1", "oci")
    with_base(project, f"{registry}/team/base:1")
    project.json("register", "environment.yml", "--base", "team")
    return project


def layers(project: Project, reference: str = "small") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = project.json("env", "show", reference)["image"]["layers"]
    return found


def test_it_is_built_again_bit_for_bit_also_after_the_tag_has_moved(
    on_team: Project, registry: str, seed: Path, tmp_path: Path
) -> None:
    all_is_well = {"environment": "small:1", "layers": len(layers(on_team)), "findings": []}
    assert on_team.json("verify", "small") == all_is_well
    make(tmp_path / "second", seed, "good day").push(f"{registry}/team/base:1", "oci")
    assert on_team.json("base", "update", "team")["version"] == 2
    assert on_team.json("register", "environment.yml", "--base", "team")["version"] == 2
    assert on_team.json("verify", "small:1") == all_is_well
    assert on_team.json("verify", "small:2")["findings"] == []


def test_the_registry_and_the_setting_may_be_gone(project: Project, seed: Path, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry") as registry:
        digest = make(tmp_path / "foreign", seed).push(f"{registry}/team/base:1", "oci")
        with_base(project, f"{registry}/team/base@{digest}")
        project.json("register", "environment.yml", "--base", "team")
    text = (project.folder / "envbuild.toml").read_text()
    project.write("envbuild.toml", text.partition("[bases]")[0])
    assert project.json("verify", "small")["findings"] == []
    record = layers(project)[1]["blob"]["digest"].removeprefix("sha256:")
    blob = project.home / "store/blobs/sha256" / record
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    done = project.envbuild("verify", "small")  # a damaged blob is not taken, and there is nobody to ask
    assert done.returncode == 2
    assert "of the base team:1, which is not here any more, and no base is named 'team'" in done.stderr
    assert "name it in envbuild.toml: [bases] team = " in done.stderr
    project.write("envbuild.toml", text)
    done = project.envbuild("verify", "small")
    assert (done.returncode, "cannot be reached" in done.stderr) == (1, True), done.stderr


def test_a_changed_file_of_the_base_is_named(on_team: Project) -> None:
    file = on_team.home / "trees" / layers(on_team)[1]["tree"] / "usr/share/team/greeting"
    file.unlink()
    file.write_text("changed")
    done = on_team.envbuild("verify", "small")
    assert done.returncode == 1
    finding, line = done.stdout.splitlines()
    assert finding.startswith("layer base team:1, layer 2: ")
    assert line.startswith("  usr/share/team/greeting has other content: ")


def test_a_tree_of_the_base_that_is_gone_is_made_of_its_blob(on_team: Project) -> None:
    tree = on_team.home / "trees" / layers(on_team)[1]["tree"]
    shutil.rmtree(tree)
    on_team.write("envbuild.toml", (on_team.folder / "envbuild.toml").read_text().partition("[bases]")[0])
    on_team.write("src/show.py", "print(open('/usr/share/team/greeting').read())\n")
    shown = on_team.envbuild("run", "src", "show.py", "--env", "small:1")
    assert shown.returncode == 0 and "hello" in shown.stdout, shown.stderr


def test_what_was_pulled_is_verified_where_nobody_knows_the_base(
    on_team: Project, new_project: Callable[[str], Project], registry: str
) -> None:
    on_team.json("push", "small", f"{registry}/team/small")
    other = new_project("other")
    other.json("pull", f"{registry}/team/small:1")
    assert other.json("verify", "small")["findings"] == []
