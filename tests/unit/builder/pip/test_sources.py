"""Sources come from anywhere: nothing in them leads out, and what is damaged is one sentence."""

import gzip
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from envbuild.builder.inputs.requirement import Requirement, parse_requirement
from envbuild.builder.packing import unpacked_size
from envbuild.builder.pip.sources import take_folder, take_repository
from envbuild.errors import PackageError

SCM = '[build-system]\nrequires = ["setuptools_scm"]\n'


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=n@example.test", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True)


@pytest.mark.parametrize("subdirectory", ["../victim", "link"])
def test_a_subdirectory_that_leads_out_of_a_repository_is_refused(tmp_path: Path, subdirectory: str) -> None:
    victim, origin, folder = tmp_path / "victim", tmp_path / "origin", tmp_path / "folder"
    for each in (victim, origin, folder):
        each.mkdir()
    (victim / "pyproject.toml").write_text(SCM)
    (origin / "link").symlink_to(victim)
    git(origin, "init", "--quiet")
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "-m", "first")
    wanted = Requirement("git", location=f"git+{origin.as_uri()}", subdirectory=subdirectory)
    with pytest.raises(PackageError, match="leads out of it; refused"):
        take_repository(wanted, folder)


def test_such_a_line_is_refused_where_it_is_read() -> None:
    with pytest.raises(ValueError, match="leads out of"):
        parse_requirement("git+https://h.test/a.git#egg=a&subdirectory=x/../../y")


def damaged_tar() -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        entry = tarfile.TarInfo("a-1/setup.py")
        entry.size = 100_000
        archive.addfile(entry, io.BytesIO(bytes(range(250)) * 400))
    data = bytearray(gzip.compress(plain.getvalue(), mtime=0))
    middle = len(data) // 2
    data[middle : middle + 40] = b"\xff" * 40
    return bytes(data)


def encrypted_zip() -> bytes:
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("a-1/setup.py", "pass")
    data = bytearray(plain.getvalue())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "data"), [("a-1.tar.gz", damaged_tar()), ("a-1.zip", encrypted_zip()), ("a-1.tar.xz", b"\xfd7zXZ\0junk")]
)
def test_a_damaged_source_distribution_is_one_sentence(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    with pytest.raises(PackageError, match=f"{name} cannot be read as a source distribution"):
        take_folder(Requirement("path", location=f"./{name}"), tmp_path, tmp_path / "folder")


def tar_of_zeros() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("a-1/zeros")
        entry.size = 4 << 20
        archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    return packed.getvalue()


def zip_of_zeros() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a-1/zeros", bytes(4 << 20))
    return packed.getvalue()


@pytest.mark.parametrize(("name", "data"), [("a-1.tar.gz", tar_of_zeros()), ("a-1.zip", zip_of_zeros())])
def test_a_source_distribution_that_unpacks_to_far_too_much_is_refused(
    tmp_path: Path, name: str, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacked_size, "_ALWAYS", 1 << 20)
    (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    with pytest.raises(PackageError, match=f"{name} .* is refused: it unpacks to more than 1.0 MB"):
        take_folder(Requirement("path", location=f"./{name}"), tmp_path, tmp_path / "folder")
