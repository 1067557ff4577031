"""What a lock file keeps, and that a damaged one ends in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.builder.lock import Built, Lock, LockedPackage, is_lock_file, read_lock, without_credentials, write_locks
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
    write_locks((LOCK,), file)
    assert read_lock(file) == LOCK
    assert is_lock_file(file)


def test_credentials_never_reach_the_file(tmp_path: Path) -> None:
    file = tmp_path / "conda-lock.yml"
    secret = LockedPackage(
        **{**SIX.__dict__, "url": "https://me:hunter2@example.test/ch/noarch/six-1.17.0-pyhd_0.conda"}
    )
    write_locks((Lock("linux-64", ("https://me:hunter2@example.test/ch",), (secret,)),), file)
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
        (
            "version: 1\npackage: [a]\nmetadata: {channels: []}\n",
            "is not a complete conda-lock file: something in it is of the wrong kind",
        ),
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


@pytest.mark.parametrize("secret", ["ann:s3cret@h.test", "h.test/t/s3cret"])
def test_credentials_in_a_lock_of_somebody_else_go_no_further(tmp_path: Path, secret: str) -> None:
    file = tmp_path / "conda-lock.yml"
    file.write_text(entry(url=f"https://{secret}/ch/noarch/six-1-0.conda"))
    (package,) = read_lock(file).packages
    assert package.url == "https://h.test/ch/noarch/six-1-0.conda"
    file.write_text(entry(url=f"ftp://{secret}/ch/noarch/six-1-0.conda"))
    with pytest.raises(LockError) as caught:
        read_lock(file)
    assert "s3cret" not in str(caught.value)


WHEEL = {"name": "a", "version": "1", "url": "https://h.test/a-1-py3-none-any.whl", "sha256": "0" * 64}
GIT = {"tag": "v1", "distance": 0, "commit": "0" * 40, "date": "2020-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"requires": [{**WHEEL, "sha256": "../../x"}]}, "a has no sha256"),
        ({"requires": [{**WHEEL, "url": "https://h.test/..%2Fa.whl"}]}, "a has the file name"),
        ({"requires": [{**WHEEL, "url": "/etc/a-1-py3-none-any.whl"}]}, "expected http, https or file"),
        ({"subdirectory": "../../home"}, "leads out of its source"),
        ({"subdirectory": "/etc"}, "leads out of its source"),
        ({"described": {**GIT, "tag": "v1\nnode: x"}}, "of the wrong kind"),
        ({"described": {**GIT, "commit": 5}}, "of the wrong kind"),
        ({"described": {**GIT, "distance": "1"}}, "of the wrong kind"),
    ],
)
def test_what_a_lock_says_of_a_build_is_checked(tmp_path: Path, said: dict[str, Any], sentence: str) -> None:
    built = {"wheel": "six-1-py3-none-any.whl", "source_sha256": "0" * 64, "requires": [], "described": None}
    package = LockedPackage(
        "pip", "six", "1", "https://h.test/six-1.tar.gz", "1" * 64, built=Built("six-1-py3-none-any.whl", "0" * 64)
    )
    file = tmp_path / "conda-lock.yml"
    write_locks((Lock("linux-64", (), (package,)),), file)
    document = yaml.safe_load(file.read_text())
    extras = {"built": {"six": {"sha256": "1" * 64, **built, **said}}}
    document["metadata"]["custom_metadata"] = {"envbuild:linux-64": json.dumps(extras)}
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(LockError, match=sentence):
        read_lock(file)


def test_another_platform_is_named(tmp_path: Path) -> None:
    file = tmp_path / "conda-lock.yml"
    write_locks((LOCK,), file)
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
