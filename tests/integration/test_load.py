"""Images go into a real Docker Engine and a real Podman, and only what these lack is sent."""

import os
import subprocess
from pathlib import Path
from typing import Any

import docker
import pytest
from engines import Daemon, dockerd
from harness import Project, need

from envbuild.builder.image import Image, Layer, make_image
from envbuild.builder.layers.layer import tree_digest
from envbuild.builder.publish.docker import known_layers, load_image
from envbuild.builder.publish.engine import find_engine
from envbuild.builder.report import Silent
from envbuild.builder.store import Store
from envbuild.errors import EngineError, StoreError


@pytest.fixture(params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> Daemon:
    daemon: Daemon = request.getfixturevalue(f"{request.param}_engine")
    return daemon


class Images:
    """Makes images of small layers, each from a text."""

    def __init__(self, home: Path) -> None:
        self.store = Store(home)
        self.store.trees.mkdir(parents=True)

    def image(self, *texts: str) -> Image:
        return make_image([self._layer(text) for text in texts], "linux-64", 0, {}, {})

    def _layer(self, text: str) -> Layer:
        tree = self.store.trees / text
        if not tree.exists():
            tree.mkdir()
            (tree / text).write_text(text)
        diff_id, size = tree_digest(tree)
        return Layer(diff_id, size, text, text, ())

    def load(self, image: Image, engine: Daemon, name: str) -> Any:
        return load_image(image, name, self.store, find_engine(engine.host), Silent())


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path / "home")


@pytest.fixture
def client(docker_engine: Daemon) -> docker.DockerClient:
    return docker.DockerClient(base_url=docker_engine.host)


def test_an_environment_is_loaded_once_and_runs(project: Project, engine: Daemon) -> None:
    # an image that no other test loads: the same content is the same image, and would be there
    spec = (project.folder / "environment.yml").read_text()
    project.write("environment.yml", f"{spec}variables: {{TEST: {engine.name}}}\n")
    project.json("register", "environment.yml")
    first = project.json("load", "small", env=engine.env)
    # its layers may be there already, by the image of another test
    assert (first["status"] in ("all", "part"), first["reference"]) == (True, "small:1")
    assert first["image_id"] == project.json("env", "show", "small")["image"]["config_digest"]
    second = project.json("load", "small", env=engine.env)
    assert (second["status"], second["sent_bytes"], second["image_id"]) == ("there", 0, first["image_id"])
    if engine.name == "docker":
        client = docker.DockerClient(base_url=engine.host)
        line = ["python", "-c", "import jinja2; print(jinja2.Template('{{ 6 * 7 }}').render())"]
        assert client.containers.run("small:1", line, network_mode="none", remove=True) == b"42\n"


def test_register_loads_when_asked(project: Project, docker_engine: Daemon) -> None:
    done = project.envbuild("register", "environment.yml", "--name", "Loaded_", "--load", env=docker_engine.env)
    assert done.returncode == 0, done.stderr
    assert "\nloaded:1  sha256:" in done.stdout
    assert docker.DockerClient(base_url=docker_engine.host).images.get("loaded:1")


def test_only_layers_above_the_known_ones_are_sent(images: Images, docker_engine: Daemon) -> None:
    images.load(images.image("a", "b", "c"), docker_engine, "partial:1")
    grown = images.image("a", "b", "changed", "d")
    assert known_layers(grown, find_engine(docker_engine.host)) == 2
    done = images.load(grown, docker_engine, "partial:2")
    assert (done.status, done.sent_layers, done.image_id) == ("part", 2, grown.config_digest)


def test_a_known_layer_on_other_layers_is_sent_again(images: Images, docker_engine: Daemon) -> None:
    images.load(images.image("e", "f"), docker_engine, "moved:1")
    done = images.load(images.image("f", "e"), docker_engine, "moved:2")
    assert (done.status, done.sent_layers) == ("all", 2)


def test_podman_gets_every_layer(images: Images, podman_engine: Daemon) -> None:
    images.load(images.image("a", "b"), podman_engine, "partial:1")
    done = images.load(images.image("a", "b", "c"), podman_engine, "partial:2")
    assert (done.status, done.sent_layers) == ("all", 3)


def test_a_partial_archive_that_is_refused_is_followed_by_a_whole_one(
    images: Images, docker_engine: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envbuild.builder.publish.docker.known_layers", lambda *_: 2)
    image = images.image("g", "h", "i")
    done = images.load(image, docker_engine, "refused:1")
    assert (done.status, done.sent_layers, done.image_id) == ("all", 3, image.config_digest)


def test_the_tag_moves_to_an_image_that_is_there(images: Images, client: Any, docker_engine: Daemon) -> None:
    one, two = images.image("one"), images.image("two")
    images.load(one, docker_engine, "tagged:1")
    images.load(two, docker_engine, "tagged:1")
    assert images.load(one, docker_engine, "tagged:1").status == "there"
    assert client.images.get("tagged:1").id == one.config_digest


def test_docker_engine_loads_125_layers_and_refuses_126(images: Images, docker_engine: Daemon) -> None:
    texts = [f"layer-{number}" for number in range(126)]
    assert images.load(images.image(*texts[:125]), docker_engine, "layers:125").sent_layers == 125
    with pytest.raises(EngineError, match=r"could not load layers:126: max depth exceeded"):
        images.load(images.image(*texts), docker_engine, "layers:126")


def test_a_tree_that_was_changed_stops_the_load(images: Images, client: Any, docker_engine: Daemon) -> None:
    image = images.image("j", "k")
    (images.store.trees / "k/k").write_text("K")
    with pytest.raises(StoreError, match="no longer holds what was built"):
        images.load(image, docker_engine, "changed:1")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("changed:1")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_a_sentence(images: Images, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("d")  # short: containerd's socket lies below, and may have 107 characters
    (folder / "full").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", folder / "full"], check=True)
    try:
        with dockerd(folder, folder / "full") as engine:
            (images.store.trees / "large").mkdir()
            (images.store.trees / "large/zeros").write_bytes(bytes(120 << 20))
            with pytest.raises(EngineError, match=r"no space left on device; its disk is full: make room"):
                images.load(images.image("large"), engine, "large:1")
    finally:
        subprocess.run(["umount", "--lazy", folder / "full"], capture_output=True, check=False)


def test_no_engine_is_a_sentence_that_names_the_socket(project: Project, tmp_path: Path) -> None:
    project.json("register", "environment.yml")
    done = project.envbuild("load", "small", env={"DOCKER_HOST": f"unix://{tmp_path}/no.sock"})
    assert done.returncode == 1
    assert f"no container engine listens at {tmp_path}/no.sock: start Docker Engine" in done.stderr
    assert "from DOCKER_HOST" in done.stderr


def test_a_docker_context_is_followed(tmp_path: Path, docker_engine: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    line = [need("docker"), "context", "create", "mine", "--docker", f"host={docker_engine.host}"]
    subprocess.run(line, check=True, capture_output=True)
    subprocess.run([line[0], "context", "use", "mine"], check=True, capture_output=True)
    found = find_engine()
    assert (found.host, found.origin, found.product) == (
        docker_engine.host,
        'the Docker context "mine"',
        "Docker Engine",
    )
    monkeypatch.setenv("DOCKER_CONTEXT", "absent")
    with pytest.raises(EngineError, match=r'the Docker context "absent" does not exist'):
        find_engine()


def test_containerd_reads_the_archive_that_its_store_is_sent(project: Project, docker_engine: Daemon) -> None:
    """dockerd runs a containerd of its own: what Docker's containerd store is sent is what this one imports."""
    ctr = need("ctr")
    address = Path(docker_engine.host.removeprefix("unix://")).parent / "exec/containerd/containerd.sock"
    project.json("register", "environment.yml")
    digest = project.json("export", "small", "oci-archive:image.tar")["digest"]
    line = [ctr, "--address", address, "--namespace", "envbuild-test"]
    subprocess.run([*line, "images", "import", project.folder / "image.tar"], check=True, capture_output=True)
    shown = subprocess.run([*line, "images", "list"], check=True, capture_output=True, text=True).stdout
    assert f"docker.io/library/small:1 application/vnd.oci.image.manifest.v1+json {digest}" in " ".join(shown.split())


def test_doctor_tells_which_engine_there_is_or_why_none(project: Project, engine: Daemon, tmp_path: Path) -> None:
    found = project.json("doctor", env=engine.env)["container engine"]
    product = {"docker": "Docker Engine", "podman": "Podman"}[engine.name]
    partial = {"docker": "only missing layers are sent", "podman": "every layer is sent"}[engine.name]
    assert found.startswith(f"{product} ") and f"at {engine.host} (from DOCKER_HOST)" in found and partial in found
    none = project.json("doctor", env={"DOCKER_HOST": f"unix://{tmp_path}/absent.sock"})["container engine"]
    assert none.startswith(f"none: no container engine listens at {tmp_path}/absent.sock")
