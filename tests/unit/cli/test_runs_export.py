"""`envbuild runs export`: where to, and what it prints."""

import json
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from envbuild.cli.app import run as envbuild
from envbuild.trainer.run import RunRecord, create_run, update_run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    monkeypatch.setenv("ENVBUILD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    run = create_run(tmp_path / "home", "digits", {})
    run.metrics_file.write_text('{"k":"loss","v":1.5,"s":0,"t":1.0}\n')
    return update_run(run, state="Completed")


def test_both_at_once_and_again(run: RunRecord, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["runs", "export", "last", "--tensorboard", "events", "--mlflow", "mlruns"]
    assert envbuild([*line, "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert (document["run_id"], document["tensorboard"]) == (run.run_id, f"events/digits/{run.run_id}")
    assert document["mlflow"]["reused"] is False
    assert envbuild(line) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{run.run_id}  tensorboard  events/digits/{run.run_id}",
        f"{run.run_id}  mlflow       {document['mlflow']['run_id']}  reused",
    ]


def test_somewhere_must_be_named(run: RunRecord, capsys: pytest.CaptureFixture[str]) -> None:
    assert envbuild(["runs", "export", "last"]) == 2
    assert "say where to: --tensorboard DIR, --mlflow URI, or both" in capsys.readouterr().err


def test_mlflow_is_imported_only_where_it_is_used(run: RunRecord) -> None:
    code = (
        "import sys\nfrom envbuild.cli.app import run\n"
        "assert run(['runs', 'export', 'last', '--tensorboard', 'events']) == 0\n"
        "assert not {'mlflow', 'tensorboard'}.intersection(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_server_that_does_not_answer_is_said_after_a_few_tries(
    run: RunRecord, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's own eight tries take four minutes."""
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    for name in ("BACKOFF_FACTOR", "BACKOFF_JITTER"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "0")
    calls: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    server.accept()[0].close()
                    calls.append(None)

        thread = threading.Thread(target=hang_up)
        thread.start()
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert envbuild(["runs", "export", "last", "--mlflow", uri]) == 1
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert f"{run.run_id} could not be sent to {uri}: " in capsys.readouterr().err
    assert len(calls) == 4
