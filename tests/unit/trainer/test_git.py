"""Which commit a source folder is at, whoever starts us."""

import subprocess
from pathlib import Path

import pytest

from envbuild.trainer.git import read_git


def repository(folder: Path) -> str:
    """A repository with one commit; its hash."""
    folder.mkdir()
    (folder / "train.py").write_text(f"print('{folder.name}')\n")
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for line in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", folder.name]):
        subprocess.run([*git, *line], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_a_hook_of_another_repository_does_not_lead_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, _ = repository(tmp_path / "ours"), repository(tmp_path / "hooked")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "hooked/.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "hooked/.git/index"))
    state = read_git(tmp_path / "ours")
    assert state is not None and (state.commit, state.branch, state.dirty) == (commit, "main", False)
