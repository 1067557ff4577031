"""What a lock file keeps, and that a damaged one ends in one sentence."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.builder.lock import Lock, LockedPackage, is_lock_file, read_lock, without_credentials, write_lock
from envbuild.errors import LockError

SIX = LockedPackage(
    manager="conda",
    name="six",
    version="1.17.0",
    url="https://example.test/ch/noarch/six-1.17.0-pyhd_0.conda",
    sha256="a" * 64,
    md5="b" * 32,
    build="pyhd_0",
    subdir="noarch",
    channel="ch",
    depends=("python",),
)
IDNA = LockedPackage("pip", "idna", "3.10", "https://files.example.test/idna-3.10-py3-none-any.whl", "c" * 64)
LOCK = Lock("linux-64", ("https://example.test/ch",), (SIX, IDNA))

ENTRY = """\
version: 1
metadata: {{channels: [], platforms: [linux-64]}}
package:
- name: six
  version: '1.17.0'
  manager: {manager}
  platform: linux-64
  dependencies: {{}}
  url: {url}
  hash: {{sha256: {sha256}}}
"""


def entry(manager: str = "conda", url: str = SIX.url, sha256: str = SIX.sha256) -> str:
    return ENTRY.format(manager=manager, url=url, sha256=sha256)


def test_a_lock_read_back_equals_the_lock_written(tmp_path: Path) -> None:
    file = tmp_path / "conda-lock.yml"
    write_lock(LOCK, file)
    assert read_lock(file) == LOCK
    assert is_lock_file(file)


def test_credentials_never_reach_the_file(tmp_path: Path) -> None:
    file = tmp_path / "conda-lock.yml"
    secret = LockedPackage(
        **{**SIX.__dict__, "url": "https://me:hunter2@example.test/ch/noarch/six-1.17.0-pyhd_0.conda"}
    )
    write_lock(Lock("linux-64", ("https://me:hunter2@example.test/ch",), (secret,)), file)
    assert "hunter2" not in file.read_text()
    assert without_credentials("https://example.test/t/tk-1/ch") == "https://example.test/ch"


def test_an_environment_file_is_no_lock_file(tmp_path: Path) -> None:
    file = tmp_path / "environment.yml"
    file.write_text("name: x\ndependencies: [python]\n")
    assert not is_lock_file(file)
    assert not is_lock_file(tmp_path / "absent.yml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("version: [", "is not valid YAML"),
        ("version: 2099-99-99\n", "is not valid YAML"),
        ("- a\n", "is not a conda-lock file of version 1"),
        ("version: 2\n", "is not a conda-lock file of version 1"),
        ("version: 1\n", "is not a complete conda-lock file: 'package' is missing"),
        ("version: 1\npackage: [a]\nmetadata: {channels: []}\n", "is not a complete conda-lock file"),
        (
            "version: 1\npackage: []\nmetadata: {channels: []}\n",
            "locks nothing for linux-64; it has no platform at all",
        ),
        (entry(sha256="''"), "six has no sha256"),
        (entry(sha256="../../x"), "six has no sha256"),
        (entry(manager="npm"), "six has the manager 'npm'"),
        (entry(url="ftp://example.test/ch/noarch/six-1-0.conda"), "expected http, https or file"),
        (entry(url="https://example.test/ch/noarch/..%2F..%2Fx.conda"), "six has the file name"),
        (entry(url="https://example.test/ch/noarch/.conda"), "six has the file name"),
        (entry(url="https://[example.test/six-1-0.conda"), "conda-lock.yml: "),
    ],
)
def test_a_damaged_or_hostile_lock_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "conda-lock.yml"
    file.write_text(text)
    with pytest.raises(LockError, match=sentence):
        read_lock(file)


def test_another_platform_is_named(tmp_path: Path) -> None:
    file = tmp_path / "conda-lock.yml"
    write_lock(LOCK, file)
    with pytest.raises(LockError, match="locks nothing for linux-aarch64; it has linux-64"):
        read_lock(file, "linux-aarch64")


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 10**6), byte=st.binary(min_size=0, max_size=3))
def test_a_lock_with_changed_bytes_ends_in_a_lock_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: bytes
) -> None:
    data = entry().encode()
    at %= len(data)
    file = tmp_path_factory.getbasetemp() / "changed-lock.yml"
    file.write_bytes(data[:at] + byte + data[at + 1 :])
    try:
        read_lock(file)
    except LockError as error:
        assert str(error)
