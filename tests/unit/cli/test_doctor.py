"""What `envbuild doctor` says of a machine and its settings."""

import json
from pathlib import Path

import pytest

from envbuild.cli.app import run as envbuild


def test_the_gpus_are_those_of_the_local_target_s_own_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gpus() -> str:
        envbuild(["doctor", "--json"])
        return str(json.loads(capsys.readouterr().out)["gpus"])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVBUILD_HOME", str(tmp_path / "home"))
    (tmp_path / "envbuild.toml").write_text(f'[targets.local]\ncdi-spec-dirs = ["{tmp_path}/cdi"]\n')
    assert gpus() == f"none: no CDI specification in {tmp_path}/cdi names one"
    (tmp_path / "cdi").mkdir()
    document = {"cdiVersion": "0.6.0", "kind": "sample.com/gpu", "devices": [{"name": "0", "containerEdits": {}}]}
    (tmp_path / "cdi/sample.json").write_text(json.dumps(document))
    assert gpus() == "0"
    (tmp_path / "cdi/sample.json").write_text("no JSON")
    assert gpus().startswith(f"not usable: {tmp_path}/cdi/sample.json is no CDI specification: ")
