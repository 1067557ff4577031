"""`envbuild verify`: built again in a clean cache, every digest and file compared."""

import json

import pytest
from harness import Project

JINJA = "opt/env/lib/python3.11/site-packages/jinja2/__init__.py"


@pytest.fixture
def registered(project: Project) -> Project:
    project.json("register", "environment.yml")
    return project


def test_what_was_registered_is_built_again_bit_for_bit(registered: Project) -> None:
    layers = registered.json("env", "show", "small")["image"]["layers"]
    assert registered.json("verify", "small") == {"environment": "small:1", "layers": len(layers), "findings": []}
    assert not [entry for entry in (registered.home / "scratch").glob("*") if entry.name != ".locks"]


def test_a_changed_file_is_named(registered: Project) -> None:
    (file,) = registered.home.glob(f"trees/*/{JINJA}")
    file.write_text(file.read_text() + "# changed\n")
    done = registered.envbuild("verify", "small")
    assert done.returncode == 1
    finding, *paths = done.stdout.splitlines()
    assert finding.startswith("layer bin ") or finding.startswith("layer jinja2 ")
    assert [path.partition(":")[0] for path in paths] == [f"  {JINJA} has other content"]


def test_a_wrong_digest_in_the_record_is_named(registered: Project) -> None:
    record = registered.home / "environments/small/1/environment.json"
    document = json.loads(record.read_text())
    layer = document["image"]["layers"][1]
    right, layer["diff_id"] = layer["diff_id"], f"sha256:{'0' * 64}"
    record.write_text(json.dumps(document))
    done = registered.envbuild("verify", "small")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"layer {layer['title']}: registered as sha256:{'0' * 64}, the build gives {right}"
    ]


def test_collected_layers_are_verified_by_their_digests(registered: Project) -> None:
    image = registered.json("env", "show", "small")["image"]
    for layer in image["layers"][1:]:
        (registered.home / "trees" / layer["tree"]).rename(registered.home / "trees" / f".tmp-{layer['tree']}")
    assert registered.json("verify", "small")["findings"] == []
