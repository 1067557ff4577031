"""What is no image layout is told in a sentence that says why, and counts as wrong input."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.builder.publish.read_layout import Layout
from envbuild.errors import InputError, LayerError

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
INDEX = b'{"manifests":[]}'


def tar(files: dict[str, bytes]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return output.getvalue()


def folder(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "it has no oci-layout; envbuild export NAME oci-archive:FILE"),
        ({"index.json": INDEX}, "it has no oci-layout; "),
        (
            {"manifest.json": b"[]"},
            "it has no oci-layout, as a docker-archive, which holds an image and no environment",
        ),
        ({"oci-layout": LAYOUT}, "it has no index.json"),
        ({"oci-layout": b"", "index.json": INDEX}, "its oci-layout is no JSON object"),
        ({"oci-layout": b"[]", "index.json": INDEX}, "its oci-layout is no JSON object"),
        ({"oci-layout": b"{}", "index.json": INDEX}, "its oci-layout names another version than 1.0.0"),
        ({"oci-layout": LAYOUT, "index.json": b"[" * 100_000}, "its index.json is no JSON object"),
        ({"oci-layout": LAYOUT, "index.json": b"\xff"}, "its index.json is no JSON object"),
        ({"oci-layout": LAYOUT, "index.json": b"{}"}, "its index.json lists no manifests"),
    ],
)
def test_what_lacks_a_layout_s_files_says_which(files: dict[str, bytes], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(tar(files))
    for path in (folder(tmp_path / "image", files), tmp_path / "image.tar"):
        with pytest.raises(InputError, match="is no OCI image layout: ") as error:
            Layout(path)
        assert f"{path} is no OCI image layout: {sentence}" in str(error.value)


WHOLE = tar({"oci-layout": LAYOUT, "index.json": INDEX, f"blobs/sha256/{'a' * 64}": bytes(5000)})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is no tar archive (empty file); name one that envbuild export wrote"),
        (b"text\n" * 1000, "is no tar archive (invalid header); name one"),
        (WHOLE[:300], "is no tar archive (truncated header); name one"),
        (WHOLE[:4000], "is damaged, or only a part of an archive (unexpected end of data); copy it again"),
        (gzip.compress(WHOLE), "it is compressed, run gunzip on it first"),
        (b"PK\x03\x04" + bytes(2000), "it is compressed, run unzip on it first"),
        (tar({"notes.txt": b""}), "holds 'notes.txt', which no image layout has; refused"),
        (tar({"../index.json": INDEX}), "holds '../index.json', which no image layout has; refused"),
        (tar({"/oci-layout": LAYOUT}), "holds '/oci-layout', which no image layout has; refused"),
    ],
)
def test_a_file_that_is_no_archive_of_a_layout_is_a_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        Layout(path)
    assert str(error.value).startswith(f"{path} ") and sentence in str(error.value)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "is not there; name an archive or a folder that envbuild export wrote"),
        (os.mkfifo, "is neither a file nor a folder"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
    ],
)
def test_a_path_that_leads_to_nothing_is_a_sentence(
    make: Callable[[Path], None], sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "image"
    make(path)
    with pytest.raises(InputError, match=f"{path} {sentence}"):
        Layout(path)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.mkdir(), "index.json is no file; refused"),
        (lambda path: path.symlink_to("/etc/passwd"), "index.json cannot be read: it is a link, which is refused"),
    ],
)
def test_only_plain_files_of_a_folder_are_read(make: Callable[[Path], None], sentence: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "image", {"oci-layout": LAYOUT})
    make(path / "index.json")
    with pytest.raises(InputError, match=sentence):
        Layout(path)


def test_a_reader_that_fails_on_a_damaged_blob_hears_of_the_damage(tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(WHOLE)
    layout = Layout(tmp_path / "image.tar")
    with pytest.raises(LayerError, match=f"is damaged: the blob sha256:{'a' * 64} is sha256:"):  # noqa: SIM117
        with layout.open(f"sha256:{'a' * 64}"):
            raise LayerError("the layer is damaged: unexpected end of data")
