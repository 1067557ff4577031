"""Debian packages that arrive in part, and a disk that fills up while a base is made."""

import errno
import os
from pathlib import Path

import pytest

from envbuild.builder.bases import base
from envbuild.builder.bases.apt import find_apt
from envbuild.builder.report import Silent
from envbuild.errors import BaseError, StoreError
from envbuild.images.catalog import LINUX_64, PinnedPackage
from envbuild.settings import Settings

APT_GET = """\
#!/bin/sh
printf begin > tool_1_amd64.deb
echo 'E: Write error - write (28: No space left on device)' >&2
exit 100
"""


def test_the_beginning_of_a_file_is_not_called_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "apt-get"
    program.write_text(APT_GET)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    apt = find_apt(tmp_path / "apt", LINUX_64, Silent())
    with pytest.raises(BaseError) as caught:
        apt.download([PinnedPackage("tool", "1", "amd64", 1000, "0" * 64)], tmp_path)
    assert str(caught.value) == (
        "tool 1 arrived in part, 5 of 1000 bytes (E: Write error - write (28: No space left on device)); try again"
    )


def test_a_full_disk_is_said_of_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(base, "_download", full)
    with pytest.raises(StoreError) as caught:
        base.ensure_base("debian12-minimal", Settings(home=tmp_path), Silent())
    assert str(caught.value) == f"{tmp_path} cannot be written (No space left on device); make room and try again"
