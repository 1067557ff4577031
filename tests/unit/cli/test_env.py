"""`envbuild env`: what a registry's record says is shown, and steers no terminal."""

from pathlib import Path

import pytest

from envbuild.cli.app import run as envbuild
from envbuild.registry.environments import add_version

TITLE = "\x1b]0;hacked\x07"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two versions whose records differ in what somebody else wrote."""
    monkeypatch.setenv("ENVBUILD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for identity, value in (("a", "plain"), ("b", TITLE)):
        digest = f"sha256:{identity * 64}"
        layer = {"diff_id": "sha256:" + "1" * 64, "size": 10, "tree": "1" * 16, "title": TITLE, "packages": []}
        record = {
            "environment_id": digest, "spec_key": digest, "lock_digest": digest, "platform": "linux-64", "packages": 0,
            "registered": f"2026-11-24{value}", "image": {"digest": digest, "config_digest": digest, "layers": [layer]},
            "base": {"name": value, "version": 1, "diff_id": digest}, "ingredients": {"variables": {"WORD": value}},
        }  # fmt: skip
        add_version(tmp_path / "home", "small", record, {})
    return tmp_path / "home"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("line", ["env list", "env show small", "env history small"])
def test_no_record_steers_the_terminal(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = envbuild(line.split()), capsys.readouterr()
    assert (code, shown.err) == (0, "")
    assert "\x1b" not in shown.out
    assert "\\x1b]0;hacked" in shown.out or line == "env history small"


@pytest.mark.usefixtures("home")
def test_a_platform_without_json_chooses_nothing_and_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert envbuild(["env", "lock", "small", "--platform", "linux-aarch64"]) == 2
    assert "--platform goes with --json" in capsys.readouterr().err
