"""Sends runs to MLflow, by MLflow's own client: a tracking server's address, or a folder of plain files.

A run keeps its id in the tag `envbuild.run_id`, by which it is found again: what is there already is not sent twice,
and what an interrupted export left behind is removed first. Names are changed as little as MLflow's rules ask for.
"""

import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.errors import ExportError, InputError

from .metrics import Notes, RunMetrics, SeriesKey, read_run
from .run import RunRecord
from .run_files import files_inside

if TYPE_CHECKING:
    from mlflow import MlflowClient

_BATCH = {"metrics": 1000, "params": 100, "tags": 100}
"""What one `log_batch` may carry (MLflow's REST API)."""

_NAME, _PARAMETER, _TAG = 250, 6000, 5000
"""Characters that MLflow allows."""

_SETTINGS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # a quarter of a minute; its own 7 say after 4 minutes that nobody answers
}
"""MLflow's variables, where the user has not set them."""

_STATUS = {"Completed": "FINISHED", "Failed": "FAILED", "Lost": "FAILED", "Canceled": "KILLED"}
_OURS = "envbuild."
_ID, _PART_OF, _PARENT = "envbuild.run_id", "envbuild.part_of", "mlflow.parentRunId"


@dataclass(frozen=True)
class Exported:
    """Where a run is now."""

    mlflow_run_id: str
    reused: bool
    """It was there before."""


def export_mlflow(run: RunRecord, destination: str) -> Exported:
    """Send `run` with its parameters, tags, metrics, files and child runs to `destination`, a URI or a folder.

    Raises:
        InputError: the run has not ended, or MLflow is not installed.
        ExportError: MLflow refused it or cannot be reached.
    """
    if not run.is_final:
        raise InputError(f"{run.run_id} is {run.state}; it can be sent to MLflow once it has ended")
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)  # read by MLflow, some of it when it is imported
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise InputError("MLflow's client is not installed: pip install 'envbuild[mlflow]'") from None
    uri = destination if "://" in destination else Path(destination).absolute().as_uri()
    try:
        return _send(MlflowClient(tracking_uri=uri), run)
    except (MlflowException, OSError) as error:
        raise ExportError(f"{run.run_id} could not be sent to {destination}: {_first_line(error)}") from error


def _send(client: "MlflowClient", run: RunRecord) -> Exported:
    found = read_run(run.folder)
    experiment = client.get_experiment_by_name(run.experiment)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(run.experiment)
    for there in client.search_runs([experiment_id], filter_string=f"tags.`{_ID}` = '{run.run_id}'"):
        if there.info.status != "RUNNING":
            return Exported(there.info.run_id, reused=True)
        parts = client.search_runs([experiment_id], filter_string=f"tags.`{_PART_OF}` = '{run.run_id}'")
        for part in [*parts, there]:
            client.delete_run(part.info.run_id)
    begin, end = (_milliseconds(run.document.get(key) or run.document["created"]) for key in ("started", "ended"))
    own = client.create_run(experiment_id, start_time=begin, run_name=run.run_id).info.run_id
    notes = found.notes_of("")
    tags = {_ID: run.run_id, **dict(_record_tags(run)), **_said(run.tags), **_said(notes.tags)}
    _log(client, own, found, "", {**run.parameters, **notes.parameters}, tags)
    ids = {"": own}
    for child, of_child in found.notes.items():
        if child:
            about = {_PART_OF: run.run_id, _PARENT: ids.get(of_child.parent or "", own)}
            name = of_child.name or child
            sent = client.create_run(experiment_id, start_time=begin, run_name=name, tags=about).info.run_id
            ids[child] = sent
            _log(client, sent, found, child, of_child.parameters, _said(of_child.tags))
            _log_child_files(client, sent, run, of_child)
            client.set_terminated(sent, _STATUS.get(of_child.status, "FINISHED"), end_time=end)
    _log_files(client, own, run, found)
    client.set_terminated(own, _STATUS[run.state], end_time=end)
    return Exported(own, reused=False)


def _said(tags: Mapping[str, Any]) -> dict[str, Any]:
    """What a script or a user said; what runs are found and removed by in MLflow is only ours to say."""
    return {key: value for key, value in tags.items() if key != _PARENT and not key.startswith(_OURS)}


def _record_tags(run: RunRecord) -> Iterator[tuple[str, Any]]:
    """What the record knows, under the names that MLflow shows; ours where it has none."""
    document = run.document
    yield "mlflow.source.name", document.get("script", "")
    if document.get("git"):
        yield "mlflow.source.git.commit", document["git"].get("commit", "")
    yield "envbuild.environment", run.environment
    yield "envbuild.image_digest", (document.get("environment") or {}).get("image_digest", "")
    yield "envbuild.snapshot", (document.get("snapshot") or {}).get("id", "")


def _log(
    client: "MlflowClient", run_id: str, found: RunMetrics, child: str, parameters: Mapping[str, Any],
    tags: Mapping[str, Any],
) -> None:  # fmt: skip
    from mlflow.entities import Metric, Param, RunTag

    curves = [series for key, series in found.series.items() if key.run == child or _is_folder(key, found, child)]
    names = mlflow_names([_label(series.key, child) for series in curves])
    points = (
        Metric(name, value, int(time * 1000), step)
        for name, series in zip(names, curves, strict=True)
        for step, value, time in zip(series.steps, series.values, series.times, strict=True)
    )
    keys = mlflow_names(list(parameters))
    params = (Param(key, str(value)[:_PARAMETER]) for key, value in zip(keys, parameters.values(), strict=True))
    texts = (RunTag(key, str(value)[:_TAG]) for key, value in zip(mlflow_names(list(tags)), tags.values(), strict=True))
    for kind, entities in (("tags", texts), ("params", params), ("metrics", points)):
        for batch in _batches(entities, _BATCH[kind]):
            client.log_batch(run_id, **{kind: batch})


def _log_files(client: "MlflowClient", run_id: str, run: RunRecord, found: RunMetrics) -> None:
    """Outputs, images, MLflow's own artifacts and the logs."""
    for name in ("70_driver_log.txt", "20_image_build_log.txt", "run.json", "metrics.jsonl"):
        if (run.folder / name).is_file():
            client.log_artifact(run_id, str(run.folder / name))
    paths = [*files_inside(run.folder, "outputs"), *files_inside(run.folder, "images")]
    for path in paths:
        client.log_artifact(run_id, str(run.folder / path), posixpath.dirname(path))
    _log_artifacts(client, run_id, run, found.notes_of(""))


def _log_child_files(client: "MlflowClient", run_id: str, run: RunRecord, notes: Notes) -> None:
    """What the child uploaded, and MLflow's own artifacts of it."""
    for path in files_inside(run.folder, notes.files) if notes.files else ():
        inside = posixpath.dirname(posixpath.relpath(path, notes.files))
        client.log_artifact(run_id, str(run.folder / path), inside or None)
    _log_artifacts(client, run_id, run, notes)


def _log_artifacts(client: "MlflowClient", run_id: str, run: RunRecord, notes: Notes) -> None:
    for path in notes.artifacts:
        inside = posixpath.dirname(path.partition("/artifacts/")[2])
        client.log_artifact(run_id, str(run.folder / path), inside or None)


def mlflow_names(names: Sequence[str]) -> list[str]:
    """`names` as MLflow allows them, each still different from the others.

    Letters, digits and `_-. :/` are allowed, and only paths that lead down. In a store of plain files a name is a path:
    none may be the folder of another, and the deeper one loses its slashes.
    """
    allowed = [_allowed(name) for name in names]
    every = set(allowed)
    flat = [name.replace("/", "_") if every.intersection(_folders(name)) else name for name in allowed]
    taken = {folder for name in flat for folder in _folders(name)}
    out = []
    for name in flat:
        number, unique = 1, name
        while unique in taken:
            number += 1
            unique = f"{name} {number}"
        taken.add(unique)
        out.append(unique)
    return out


def _allowed(name: str) -> str:
    clean = re.sub(r"[^\w.\- :/]", "_", name)[: _NAME - 10] or "_"
    if posixpath.normpath(clean) != clean or clean.startswith(("/", "..")) or clean == ".":
        clean = clean.replace("/", "_").replace("..", "__")
    return "_" if clean == "." else clean


def _folders(name: str) -> list[str]:
    """`a/b/c` -> `a`, `a/b`."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _label(key: SeriesKey, child: str) -> str:
    return " ".join([key.name if key.run == child else f"{key.run}/{key.name}", *key.writer()])


def _is_folder(key: SeriesKey, found: RunMetrics, child: str) -> bool:
    """Whether it is TensorBoard's folder, no child run: such curves belong to the run itself."""
    return not child and key.run not in found.notes


def _batches(entities: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for entity in entities:
        batch.append(entity)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
