"""Two processes on one home at once: one version each, the same digests, and the work done once."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from harness import Project

SMALL = "name: small\nchannels: [defaults]\ndependencies: [python=3.11, jinja2, pygments]\n"


def register_at_once(project: Project, files: Sequence[str]) -> list[Any]:
    """Register `files`, each in a process of its own, all started together."""
    processes = [project.start("register", file, "--json") for file in files]
    documents = []
    for process in processes:
        output, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        documents.append(json.loads(output))
    return documents


def test_the_same_environment_at_once_is_one_version(project: Project) -> None:
    project.write("environment.yml", SMALL)
    found = register_at_once(project, ["environment.yml"] * 3)
    assert {(each["version"], each["image"]["digest"]) for each in found} == {(1, found[0]["image"]["digest"])}
    assert [each["status"] for each in found].count("built") == 1
    assert sum(each["packed"] for each in found) == found[0]["packages"]  # every package was unpacked once
    assert [each["reference"] for each in listed(project)] == ["small:1"]


def test_different_environments_at_once_are_what_each_is_alone(new_project: Callable[[str], Project]) -> None:
    together, alone = new_project("together"), new_project("alone")
    files = {"a.yml": SMALL.replace("small", "a"), "b.yml": SMALL.replace("small", "b").replace(", pygments", "")}
    for project in (together, alone):
        for name, text in files.items():
            project.write(name, text)
    first = register_at_once(together, list(files))
    second = [alone.json("register", name) for name in files]
    for one, two in zip(first, second, strict=True):
        assert (one["name"], one["version"], one["environment_id"]) == (two["name"], 1, two["environment_id"])
        assert one["image"]["digest"] == two["image"]["digest"]
    shared = sum(each["packed"] for each in first)
    assert shared == sum(each["packed"] for each in second) == first[0]["packages"]


def test_two_versions_of_one_name_at_once_get_two_numbers(project: Project) -> None:
    project.write("a.yml", SMALL)
    project.write("b.yml", SMALL.replace(", pygments", ""))
    found = register_at_once(project, ["a.yml", "b.yml"])
    assert sorted(each["version"] for each in found) == [1, 2]
    assert [each["reference"] for each in listed(project)] == ["small:1", "small:2"]


def listed(project: Project) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = project.json("env", "list")
    return [{**row, "reference": f"{row['name']}:{row['version']}"} for row in rows]
