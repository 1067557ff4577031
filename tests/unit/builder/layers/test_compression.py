"""The blob of a layer is a function of its tar, the compressor and its settings: of no number of threads."""

import gzip
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.builder.image import Blob
from envbuild.builder.layers.compression import FRAME, Compression, compress, media_type
from envbuild.errors import InputError

TEXT = b"".join(b"line %d of a layer\n" % number for number in range(60_000))
SMALL = 1 << 16


def make(data: bytes, file: Path, how: Compression, workers: int = 2, pieces: int = 100_000) -> Blob:
    buffer = bytearray(pieces)  # used again, as a layer's own buffer is

    def produce(write: object) -> None:
        for start in range(0, len(data), pieces):
            part = data[start : start + pieces]
            buffer[: len(part)] = part
            write(memoryview(buffer)[: len(part)])  # type: ignore[operator]

    with ThreadPoolExecutor(workers) as threads:
        return compress(produce, file, how, threads)


def plain(data: bytes, codec: str) -> bytes:
    if codec == "gzip":
        return gzip.decompress(data)
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_the_blob_is_the_same_for_any_number_of_threads_and_pieces(codec: str, tmp_path: Path) -> None:
    how = Compression(codec, 3, SMALL)
    blobs = {
        make(TEXT, tmp_path / f"{workers}-{pieces}", how, workers, pieces)
        for workers in (1, 2, 7)
        for pieces in (512, 100_000, 1 << 20)
    }
    (blob,) = blobs
    written = (tmp_path / "1-512").read_bytes()
    assert (blob.size, blob.digest) == (len(written), f"sha256:{hashlib.sha256(written).hexdigest()}")
    assert plain(written, codec) == TEXT


@pytest.mark.parametrize(("codec", "magic"), [("gzip", b"\x1f\x8b\x08"), ("zstd", b"\x28\xb5\x2f\xfd")])
def test_every_frame_stands_for_itself(codec: str, magic: bytes, tmp_path: Path) -> None:
    one = tmp_path / "one"
    make(TEXT[:SMALL], one, Compression(codec, 3, SMALL))
    whole = tmp_path / "whole"
    make(TEXT, whole, Compression(codec, 3, SMALL))
    assert whole.read_bytes().startswith(one.read_bytes())
    assert whole.read_bytes()[len(one.read_bytes()) :].startswith(magic)


def test_gzip_frames_carry_no_time_and_no_name(tmp_path: Path) -> None:
    make(b"x", tmp_path / "blob", Compression())
    assert (tmp_path / "blob").read_bytes()[3:8] == bytes(5)  # flags and time (RFC 1952, section 2.3)


def test_zstd_frames_name_their_size_and_have_no_checksum(tmp_path: Path) -> None:
    make(TEXT[:1000], tmp_path / "blob", Compression.default("zstd"))
    frame = zstandard.get_frame_parameters((tmp_path / "blob").read_bytes())
    assert (frame.content_size, frame.has_checksum) == (1000, False)


def test_what_decides_the_bytes_is_told(tmp_path: Path) -> None:
    blob = make(b"x", tmp_path / "blob", Compression.default("zstd"))
    assert blob.media_type == "application/vnd.oci.image.layer.v1.tar+zstd"
    assert blob.compression.startswith(f"zstd level 3, frames of {FRAME} bytes, zstandard ")
    assert "deflate " in Compression.default("gzip").describe()


def test_an_unknown_compression_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="'xz' is no compression; choose gzip"):
        Compression.default("xz")


def test_an_error_of_the_layer_reaches_the_caller(tmp_path: Path) -> None:
    def produce(write: object) -> None:
        raise ValueError("the tree is gone")

    with ThreadPoolExecutor(1) as threads, pytest.raises(ValueError, match="the tree is gone"):
        compress(produce, tmp_path / "blob", Compression(), threads)


@pytest.mark.parametrize(
    ("first", "suffix"), [(b"\x1f\x8b\x08\x00", "+gzip"), (b"\x28\xb5\x2f\xfd", "+zstd"), (b"opt/", ""), (b"", "")]
)
def test_the_bytes_say_which_type_a_blob_has(first: bytes, suffix: str) -> None:
    assert media_type(first) == f"application/vnd.oci.image.layer.v1.tar{suffix}"


@settings(max_examples=30, deadline=None)
@given(data=st.binary(min_size=1, max_size=5000), frame=st.integers(1, 700), codec=st.sampled_from(["gzip", "zstd"]))
def test_decompressing_gives_the_tar_back(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, frame: int, codec: str
) -> None:
    file = tmp_path_factory.mktemp("blob") / "blob"
    make(data, file, Compression(codec, 1, frame), pieces=97)
    assert plain(file.read_bytes(), codec) == data
