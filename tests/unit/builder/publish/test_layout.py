"""An image as files, in a fixed order, under a name that engines take."""

import io
import json
import tarfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.builder.image import Image, Layer, make_image
from envbuild.builder.layers.layer import tree_digest
from envbuild.builder.publish.archive import docker_parts, export_archive, stream_archive
from envbuild.builder.publish.artifact import ENVIRONMENT_TYPE, SBOM_TYPE, make_artifacts, read_titles
from envbuild.builder.publish.layout import export_layout, image_reference, layout_parts
from envbuild.builder.report import Silent
from envbuild.builder.store import Store
from envbuild.errors import InputError, LayerError, StoreError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def image(store: Store) -> Image:
    """An image of two layers, the upper one of 20 MB."""
    layers = []
    for name, size in (("small", 3), ("large", 20 << 20)):
        (store.trees / name).mkdir(parents=True)
        (store.trees / name / "file").write_bytes(bytes(size))
        layers.append(Layer(*tree_digest(store.trees / name), name, name, ()))
    return make_image(layers, "linux-64", 0, {}, {})


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("pytorch-env", "pytorch-env:1"),
        ("PyTorch_Env", "pytorch_env:1"),
        ("a--b..c_", "a-b.c:1"),
        ("0.1", "0.1:1"),
        ("größe", "gr-e:1"),
    ],
)
def test_a_name_becomes_one_that_engines_take(name: str, reference: str) -> None:
    assert image_reference(name, 1) == reference


@given(st.from_regex(r"[a-zA-Z0-9][\w.-]{0,127}", fullmatch=True))
def test_every_name_becomes_a_repository(name: str) -> None:
    import re

    repository = image_reference(name, 7).removesuffix(":7")
    assert re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", repository)


def test_documents_come_before_layers(image: Image) -> None:
    paths = [part.path for part in layout_parts(image, "small:1")]
    assert paths[:3] == ["oci-layout", "index.json", "manifest.json"]
    assert paths[-2:] == [f"blobs/sha256/{layer.diff_id[7:]}" for layer in image.layers]


def test_a_docker_archive_holds_what_docker_save_writes(image: Image, store: Store) -> None:
    data = b"".join(stream_archive(docker_parts(image, "small:1"), store))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        assert manifest[0]["RepoTags"] == ["small:1"]
        files = sorted(entry.name for entry in tar if entry.isreg())
        assert files == sorted(["manifest.json", manifest[0]["Config"], *manifest[0]["Layers"]])
        folders = [entry.name for entry in tar if entry.isdir()]
        assert folders == ["blobs", "blobs/sha256"]  # without them only root could unpack it with skopeo


def test_a_stream_is_the_same_each_time(image: Image, store: Store) -> None:
    parts = layout_parts(image, "small:1")
    assert b"".join(stream_archive(parts, store)) == b"".join(stream_archive(parts, store))


def test_a_stream_that_nobody_reads_on_ends(image: Image, store: Store) -> None:
    before = threading.active_count()
    stream = stream_archive(layout_parts(image, "small:1"), store)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_changed_tree_ends_the_stream_with_its_error(image: Image, store: Store) -> None:
    (store.trees / "large/file").write_bytes(bytes(20 << 20) + b"x")
    with pytest.raises(StoreError):
        for _ in stream_archive(layout_parts(image, "small:1"), store):
            pass


def test_files_travel_as_artifacts_of_the_image(image: Image) -> None:
    files = {"environment.json": b"{}", "conda-lock.yml": b"lock", "sbom.cdx.json": b"sbom"}
    environment, sbom = make_artifacts(image.manifest, files)
    assert (environment.type, sbom.type) == (ENVIRONMENT_TYPE, SBOM_TYPE)
    titles = read_titles(environment.manifest, image.digest, (ENVIRONMENT_TYPE,))
    assert sorted(titles) == ["conda-lock.yml", "environment.json"]
    assert environment.blobs[titles["conda-lock.yml"][0]] == b"lock"
    assert read_titles(environment.manifest, "sha256:0", (ENVIRONMENT_TYPE,)) == {}
    assert read_titles(sbom.manifest, image.digest, (ENVIRONMENT_TYPE,)) == {}


@pytest.mark.parametrize("harm", [b"[]", b"{", b"nothing"])
def test_a_damaged_artifact_is_refused(harm: bytes, image: Image) -> None:
    with pytest.raises(LayerError, match="cannot be read"):
        read_titles(harm, image.digest, (ENVIRONMENT_TYPE,))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (".", "is the folder that you are in; name a new one"),
        ("full", "is not empty; name a new folder, or remove it first"),
        ("full/file", "is a file; name a new folder"),
        ("full/file/image", "cannot be written: "),
        ("/proc/image", "cannot be written: No such file or directory; name another place"),
        ("x" * 300, "cannot be written: File name too long"),
    ],
)
def test_a_folder_that_cannot_be_made_is_wrong_input(
    name: str, sentence: str, image: Image, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"{name} {sentence}"):
        export_layout(layout_parts(image, "small:1"), store, Path(name), Silent())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (".", "is not a file; name one that can be replaced"),
        ("absent/image.tar", "is not a folder; make it"),
        ("/proc/image.tar", "cannot be written: No such file or directory; name another place"),
    ],
)
def test_an_archive_that_cannot_be_made_is_wrong_input(
    name: str, sentence: str, image: Image, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=sentence):
        export_archive(layout_parts(image, "small:1"), store, Path(name), Silent())
