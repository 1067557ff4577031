"""What makes a job's metrics come back: the folders shown to it, and the variables that lead the libraries there.

Of the run's folder a job sees, below /envbuild/run, what it may write and no more: metrics.jsonl, images/, outputs/,
children/ (the files of child runs), mlflow/ and tensorboard/. Its ./outputs is that outputs/. Its ./runs, where
PyTorch's SummaryWriter writes when it is told nothing, is that tensorboard/, unless the snapshot has a folder of that
name. `Run` lies in /envbuild/py.
"""

from pathlib import Path

from envbuild.builder.sandbox.command import Mount

RUN = "/envbuild/run"
CAPTURE = "/envbuild/py"

DEFAULTS = {
    "MLFLOW_TRACKING_URI": f"file://{RUN}/mlflow/mlruns",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Variables that an environment may set otherwise.

MLflow prepares its folder only when it makes it, so that one is below the one that is mounted. Newer MLflows refuse
plain files unless they are allowed.
"""

_FILES = Path(__file__).resolve().parent / "job"


def capture_mounts(run: Path, code: Path, code_in_job: str) -> list[Mount]:
    """What a job sees of the folder of its run; `code` is its copy of the snapshot, where mount points are made."""
    shown = [Mount(_FILES, CAPTURE), Mount(run / "metrics.jsonl", f"{RUN}/metrics.jsonl", writable=True)]
    for name in ("images", "outputs", "children", "mlflow", "tensorboard"):
        (run / name).mkdir(exist_ok=True)
        shown.append(Mount(run / name, f"{RUN}/{name}", writable=True))
    (code / "outputs").mkdir(exist_ok=True)
    shown.append(Mount(run / "outputs", f"{code_in_job}/outputs", writable=True))
    if not (code / "runs").exists():
        (code / "runs").mkdir()
        shown.append(Mount(run / "tensorboard", f"{code_in_job}/runs", writable=True))
    return shown
