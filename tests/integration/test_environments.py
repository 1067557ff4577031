"""`envbuild env` and the reasons that `register` gives, with real packages."""

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from harness import Project

SMALL = "name: small\nchannels: [defaults]\ndependencies: [{}]\n"


def register(project: Project, dependencies: str, *options: str) -> tuple[dict[str, Any], str]:
    """Register `small` with these dependencies; the document, and what was said."""
    project.write("environment.yml", SMALL.format(dependencies))
    done = project.envbuild("register", "environment.yml", *options)
    assert done.returncode == 0, done.stderr
    return project.json("env", "show", "small"), done.stderr


def test_every_build_says_why(project: Project) -> None:
    _, said = register(project, "python=3.11, pip, pip: [six==1.16.0]")
    assert "new build: first version of small\n" in said
    _, said = register(project, "python=3.11, pip, pip: [six==1.17.0]")
    assert "new build: six 1.16.0 -> 1.17.0\n" in said
    _, said = register(project, "python=3.11, pip, pygments, pip: [six==1.17.0]")
    assert "new build: + pygments 2.19.2\n" in said
    _, said = register(project, "python=3.11, pip, 'pygments>2', pip: [six==1.17.0]")
    assert "no new build: the same packages as small:3\n" in said
    _, said = register(project, "python=3.11, pip, pygments, pip: [six==1.17.0]")
    assert "build" not in said
    details = [event["detail"] for event in project.json("env", "history", "small")]
    assert details == ["first version of small", "six 1.16.0 -> 1.17.0", "+ pygments 2.19.2"]


def test_a_changed_order_of_channels_is_named(project: Project, channel: Path) -> None:
    settings = (project.folder / "envbuild.toml").read_text()
    project.write("envbuild.toml", settings.replace("[virtual", f'other = "{channel.as_uri()}/"\n[virtual'))
    for order in ("defaults, other", "other, defaults"):
        project.write("environment.yml", f"name: small\nchannels: [{order}]\ndependencies: [python=3.11, jinja2]\n")
        said = project.envbuild("register", "environment.yml").stderr
    assert "channel order changed: defaults, other -> other, defaults" in said


def test_diff_counts_what_a_pull_would_move(project: Project) -> None:
    register(project, "python=3.11, jinja2")
    register(project, "python=3.11, jinja2, pygments")
    found = project.json("env", "diff", "small:1", "small:2")
    assert [each["name"] for each in found["packages"]["added"]] == ["pygments"]
    assert (found["packages"]["removed"], found["packages"]["changed"], found["changes"]) == ([], [], [])
    assert [each["title"] for each in found["layers"]["new"]] == ["pygments 2.19.2", "environment"]
    assert found["bytes_to_pull"] == sum(each["size"] for each in found["layers"]["new"])
    back = project.json("env", "diff", "small:2", "small:1")
    assert [each["name"] for each in back["packages"]["removed"]] == ["pygments"]
    assert project.json("env", "diff", "small:2", "small")["layers"]["new"] == []
    shown = project.envbuild("env", "diff", "small:1", "small:2").stdout
    assert shown.startswith("+ pygments 2.19.2\n") and "a pull of small:2 moves" in shown


def test_explain_names_the_line_of_the_file(project: Project) -> None:
    register(project, "python=3.11, jinja2==3.1.6")
    project.write(
        "environment.yml", "name: small\nchannels: [defaults]\ndependencies:\n- python=3.11\n- jinja2>=3\n- pygments\n"
    )
    done = project.envbuild("env", "explain", "environment.yml")
    assert done.stdout.splitlines() == [
        "environment.yml is another request than that of small:1:",
        "  environment.yml:5: jinja2 ==3.1.6 -> >=3",
        "  environment.yml:6: + pygments",
    ]
    project.json("register", "environment.yml")
    assert project.envbuild("env", "explain", "environment.yml").stdout == (
        "environment.yml is the request of small:2: register says reused\n"
    )
    assert project.envbuild("env", "explain", "small").stdout.splitlines() == [
        "small:2 is another environment than small:1:",
        "  jinja2 ==3.1.6 -> >=3",
        "  + pygments",
        "  + pygments 2.19.2",
    ]
    assert project.json("env", "explain", "small:2", "small:1")["changes"][-1]["text"] == "- pygments 2.19.2"


def test_refresh_shows_the_difference_before_it_registers(project: Project) -> None:
    loose = "python=3.11, pip, pip: [six]"
    project.write("constraints.txt", "six==1.16.0\n")
    register(project, "python=3.11, pip, pip: [six, -c constraints.txt]")
    first = project.json("env", "lock", "small")["packages"]
    assert "1.16.0" in [each["version"] for each in first if each["name"] == "six"]
    _, said = register(project, loose, "--refresh")
    shown, _, rest = said.partition("new build:")
    assert "solved again; what is different from small:1:\n" in shown and "  six 1.16.0 -> " in shown
    assert rest.startswith(" six 1.16.0 -> ")
    shown_again, said = register(project, loose, "--refresh")
    assert "solved again, nothing is different: small:2 stays" in said
    assert shown_again["version"] == 2


def test_tags_name_versions_everywhere(project: Project) -> None:
    register(project, "python=3.11")
    register(project, "python=3.11, pygments")
    assert project.envbuild("env", "tag", "small:1", "prod").stdout == "small:prod  is small:1\n"
    assert project.json("env", "show", "small:prod")["version"] == 1
    shown = project.envbuild("env", "show", "small:prod").stdout
    assert "tags            prod\n" in shown and "because         first version of small\n" in shown
    assert project.envbuild("env", "tag", "small:2", "prod").stdout == "small:prod  is small:2  (before: small:1)\n"
    assert [each["tags"] for each in project.json("env", "list")] == [[], ["prod"]]
    done = project.envbuild("env", "tag", "small", "3")
    assert done.returncode == 2 and "not only digits" in done.stderr
    assert project.envbuild("env", "untag", "small:prod").returncode == 0
    done = project.envbuild("env", "show", "small:prod")
    assert done.returncode == 2 and "small has no version or tag 'prod'; it has 1, 2" in done.stderr


def test_every_version_has_a_bill_of_materials_and_its_provenance(project: Project) -> None:
    document, _ = register(project, "python=3.11, pip, jinja2, pip: [six==1.17.0]")
    image = document["image"]["digest"]
    shown = project.envbuild("env", "sbom", "small").stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(shown) is None
    sbom = json.loads(shown)
    parts = {each["name"]: each for each in sbom["components"]}
    assert parts["jinja2"]["purl"].startswith("pkg:conda/jinja2@3.1.6?build=")
    assert parts["six"]["purl"] == "pkg:pypi/six@1.17.0" and parts["six"]["licenses"]
    assert parts["libc6"]["purl"].startswith("pkg:deb/debian/libc6@")
    assert sbom["metadata"]["component"]["version"] == image
    folder = project.home / "environments/small/1"
    statement = json.loads((folder / "provenance.json").read_text())
    assert statement["subject"] == [{"name": "small", "digest": {"sha256": image.removeprefix("sha256:")}}]
    assert statement["predicate"]["buildDefinition"]["externalParameters"]["dependencies"][0] == "jinja2"
    (folder / "sbom.cdx.json").unlink()
    done = project.envbuild("env", "sbom", "small")
    assert "made from its lock, without licences" in done.stderr
    assert {each["name"] for each in json.loads(done.stdout)["components"]} == set(parts)


@pytest.mark.parametrize(
    "command", ["show", "list", "history", "tag", "untag", "diff", "explain", "lock", "sbom", "remove"]
)
def test_every_command_has_an_example(project: Project, command: str) -> None:
    done = project.envbuild("env", command, "--help")
    assert done.returncode == 0
    assert "Example: envbuild env" in done.stdout and "--json" in done.stdout
