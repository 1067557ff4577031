"""Environments travel through a registry: Debian's docker-registry, with skopeo reading and writing beside us."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import Project, copy_home, copy_pins, need

from registry import Proxy


def elsewhere(project: Project, tmp_path: Path, name: str = "elsewhere") -> Project:
    """The same project on another machine: nothing in its home but what the base is."""
    copy_pins(project.home, tmp_path / f"{name}-home")
    return Project(project.folder, tmp_path / f"{name}-home")


def skopeo(*line: str | Path) -> Any:
    done = subprocess.run([need("skopeo"), *map(str, line)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.startswith("{") else None


def share(project: Project, place: str) -> None:
    """Set the repository that the team shares."""
    text = (project.folder / "envbuild.toml").read_text()
    project.write("envbuild.toml", f'{text}[registry]\nrepository = "{place}"\n')


def test_a_pushed_environment_is_the_same_on_another_machine_and_runs(
    sender: Project, registry: str, tmp_path: Path
) -> None:
    built = sender.json("env", "show", "small")
    pushed = sender.json("push", "small", f"{registry}/team/small")
    assert pushed["tags"] == ["1"]
    other = elsewhere(sender, tmp_path)
    pulled = other.json("pull", f"{registry}/team/small:1")
    assert (pulled["environment"], pulled["status"]) == ("small:1", "pulled")
    assert pulled["digest"] == built["image"]["digest"]
    assert pulled["environment_id"] == built["environment_id"]
    for name in ("conda-lock.yml", "spec.yml", "20_image_build_log.txt"):
        there, here = (each / "environments/small/1" / name for each in (sender.home, other.home))
        assert there.read_bytes() == here.read_bytes()
    assert list((other.home / "store/parts").glob("[!.]*")) == []
    sender.write("src/hello.py", "import jinja2\nprint('hello from', jinja2.__name__)\n")
    done = other.envbuild("run", "src", "hello.py", "--env", "small:1")
    assert done.returncode == 0 and "hello from jinja2" in done.stdout, done.stderr
    again = other.json("pull", f"{registry}/team/small@{pushed['digest']}")
    assert (again["environment"], again["status"], again["layers"]["unpacked"]) == ("small:1", "there", 0)
    assert [(each["name"], each["version"]) for each in other.json("env", "list")] == [("small", 1)]


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_skopeo_reads_what_was_pushed(sender: Project, registry: str, tmp_path: Path, codec: str) -> None:
    pushed = sender.json("push", "small", f"{registry}/team/small:{codec}", "--compression", codec)
    place = f"docker://{registry}/team/small:{codec}"
    shown = skopeo("inspect", "--tls-verify=false", place)
    record = sender.json("env", "show", "small")
    assert shown["Digest"] == pushed["digest"]
    assert len(shown["Layers"]) == len(record["image"]["layers"])
    skopeo("copy", "--src-tls-verify=false", place, f"oci:{tmp_path / 'copy'}:1")
    raw = skopeo("inspect", "--tls-verify=false", "--raw", place)
    assert {layer["mediaType"] for layer in raw["layers"]} == {f"application/vnd.oci.image.layer.v1.tar+{codec}"}
    told = raw["layers"][0]["annotations"]["dev.envbuild.compression"]
    assert told.startswith(f"{codec} level ") and "frames of 4194304 bytes" in told
    assert raw["config"]["digest"] == record["image"]["config_digest"]


def test_umoci_unpacks_a_python_that_runs_out_of_what_was_pushed(
    sender: Project, registry: str, tmp_path: Path
) -> None:
    umoci = need("umoci")
    sender.json("push", "small", f"{registry}/team/small")
    skopeo("copy", "--src-tls-verify=false", f"docker://{registry}/team/small:1", f"oci:{tmp_path / 'copy'}:1")
    bundle = tmp_path / "bundle"
    done = subprocess.run(
        [umoci, "unpack", "--rootless", "--image", f"{tmp_path / 'copy'}:1", bundle], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (bundle / "rootfs/opt/env/bin/python").is_symlink()


def test_the_files_refer_to_the_image_under_the_fallback_tag(sender: Project, registry: str) -> None:
    """OCI distribution specification 1.1, "Referrers Tag Schema": docker-registry 2.8 knows no referrers."""
    pushed = sender.json("push", "small", f"{registry}/team/small")
    tag = pushed["digest"].replace(":", "-")
    index = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{registry}/team/small:{tag}")
    kinds = {each["artifactType"] for each in index["manifests"]}
    assert {
        "application/vnd.envbuild.environment.v1+json",
        "application/vnd.envbuild.lock.v1+yaml",
        "application/vnd.envbuild.spec.v1+yaml",
        "application/vnd.envbuild.build-log.v1+text",
    } <= kinds
    again = sender.json("push", "small", f"{registry}/team/small")
    assert skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{registry}/team/small:{tag}") == index
    assert (again["digest"], again["bytes_sent"]) == (pushed["digest"], 0)


def test_one_package_more_moves_only_the_changed_layers(sender: Project, proxy: Proxy) -> None:
    first = sender.json("push", "small", f"{proxy.address}/team/small")
    whole = proxy.uploaded()
    assert first["bytes_sent"] > 10_000_000 and whole >= first["bytes_sent"]
    proxy.forget()
    sender.write(
        "environment.yml", "name: small\nchannels: [defaults]\ndependencies:\n- python=3.11\n- jinja2\n- pygments\n"
    )
    sender.json("register", "environment.yml")
    second = sender.json("push", "small", f"{proxy.address}/team/small")
    assert second["layers"]["sent"] == 2  # its own, and conda-meta
    assert proxy.uploaded() < whole / 10
    assert second["layers"]["there"] == first["layers"]["sent"] - 1
    print(f"bytes uploaded: {whole} first, {proxy.uploaded()} with one package more")


def test_a_repository_beside_it_takes_the_layers_by_mounting(sender: Project, proxy: Proxy) -> None:
    first = sender.json("push", "small", f"{proxy.address}/team/small")
    proxy.forget()
    second = sender.json("push", "small", f"{proxy.address}/other/small")
    assert second["layers"] == {"sent": 0, "there": 0, "mounted": first["layers"]["sent"]}
    assert proxy.uploaded() < 100_000  # the config and the files
    skopeo("inspect", "--tls-verify=false", f"docker://{proxy.address}/other/small:1")


def test_what_was_pulled_is_pushed_to_its_registry_without_compressing(
    sender: Project, registry: str, tmp_path: Path
) -> None:
    first = sender.json("push", "small", f"{registry}/team/small")
    other = elsewhere(sender, tmp_path)
    other.json("pull", f"{registry}/team/small:1")
    second = other.json("push", "small", f"{registry}/team/copy")
    assert (second["digest"], second["bytes_sent"]) == (first["digest"], 0)
    assert second["layers"]["mounted"] == first["layers"]["sent"]


def test_an_equal_request_is_neither_solved_nor_built_by_the_second_person(
    sender: Project, proxy: Proxy, tmp_path: Path
) -> None:
    share(sender, f"{proxy.address}/team/cache")
    built = sender.json("env", "show", "small")
    pushed = sender.json("push", "small")
    assert [tag.partition("-")[0] for tag in pushed["tags"]] == ["small", "env", "request", "spec"]
    other = elsewhere(sender, tmp_path)
    second = other.json("register", "environment.yml")
    assert (second["status"], second["name"], second["version"]) == ("pulled", "small", 1)
    assert second["image"]["digest"] == built["image"]["digest"]
    assert not (other.home / "packages").exists()
    proxy.forget()
    third = other.json("register", "environment.yml")
    assert third["status"] == "reused"
    assert proxy.seen == []


def test_another_spelling_with_the_same_result_is_found_by_its_environment_id(
    sender: Project, registry: str, tmp_path: Path, seed: Path
) -> None:
    share(sender, f"{registry}/team/cache")
    built = sender.json("env", "show", "small")
    sender.json("push", "small")
    sender.write("environment.yml", "name: other\nchannels: [defaults]\ndependencies:\n- python=3.11.*\n- jinja2>=3\n")
    other = elsewhere(sender, tmp_path)
    copy_home(seed, other.home)
    second = other.json("register", "environment.yml")
    assert (second["status"], second["name"]) == ("pulled", "other")
    assert second["environment_id"] == built["environment_id"]


def test_a_registry_that_is_down_is_a_note_and_the_build_goes_on(project: Project) -> None:
    share(project, "127.0.0.1:9/team/cache")
    done = project.envbuild("register", "environment.yml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "built"
    assert done.stderr.count("the shared registry is left out: 127.0.0.1:9 cannot be reached") == 1


def test_the_same_version_of_another_content_gets_the_next_number(
    sender: Project, registry: str, tmp_path: Path
) -> None:
    sender.json("push", "small", f"{registry}/team/small")
    sender.write("environment.yml", "name: small\nchannels: [defaults]\ndependencies:\n- python=3.11\n")
    other = elsewhere(sender, tmp_path)
    other.json("register", "environment.yml")
    done = other.envbuild("pull", f"{registry}/team/small:1")
    assert done.returncode == 0, done.stderr
    assert "small:1 is another environment here; this one is registered as small:2" in done.stderr
    named = other.json("pull", f"{registry}/team/small:1", "--name", "theirs")
    assert named["environment"] == "theirs:1"


def test_an_image_without_an_environment_is_no_environment(sender: Project, registry: str) -> None:
    sender.json("export", "small", "oci:image")
    skopeo("copy", "--dest-tls-verify=false", f"oci:{sender.folder / 'image'}:1", f"docker://{registry}/plain:1")
    done = sender.envbuild("pull", f"{registry}/plain:1")
    assert done.returncode == 1
    assert "is an image without an environment of envbuild; it can be a base" in done.stderr
