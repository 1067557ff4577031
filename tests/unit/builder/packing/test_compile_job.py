"""The processes that compile share folders: whoever comes second finds what the first has made."""

import os
from pathlib import Path
from typing import Any

import pytest

from envbuild.builder.packing import compile_job


def test_two_processes_may_make_the_folder_of_their_files_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "__pycache__"
    real = os.open

    def late(path: str, *more: Any) -> int:
        try:
            return real(path, *more)
        finally:
            folder.mkdir(exist_ok=True)  # the other one makes it between our look and our mkdir

    monkeypatch.setattr(os, "open", late)
    os.close(compile_job.create(str(folder / "a.pyc")))
    assert (folder / "a.pyc").is_file()


def test_a_file_of_another_compiler_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.pyc").write_bytes(b"old")
    os.close(compile_job.create(str(tmp_path / "a.pyc")))
    assert (tmp_path / "a.pyc").read_bytes() == b""
