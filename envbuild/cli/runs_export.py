"""`envbuild runs export RUN... --tensorboard DIR --mlflow URI`"""

from pathlib import Path
from typing import Annotated, Any

import typer

from envbuild.errors import InputError
from envbuild.settings import load_settings

from . import output


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: envbuild runs export last --tensorboard events/ && tensorboard --logdir events/")(
        export
    )


def export(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids, beginnings of ids, or `last`.")],
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write TensorBoard's event files there.")
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI|DIR", help="Send to this MLflow server, or to plain files in a folder.")
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Give runs to other tools, with parameters, tags, metrics, images and child runs."""
    from envbuild.trainer.export_mlflow import export_mlflow
    from envbuild.trainer.export_tensorboard import export_tensorboard
    from envbuild.trainer.run import load_run

    if tensorboard is None and mlflow is None:
        raise InputError("say where to: --tensorboard DIR, --mlflow URI, or both")
    home = load_settings().home
    records = [load_run(home, each) for each in runs]
    done: list[dict[str, Any]] = []
    with output.reporter().task("export", len(records), "runs") as task:
        for record in records:
            document: dict[str, Any] = {"run_id": record.run_id}
            if tensorboard is not None:
                document["tensorboard"] = str(export_tensorboard(record, tensorboard))
            if mlflow is not None:
                sent = export_mlflow(record, mlflow)
                document["mlflow"] = {"run_id": sent.mlflow_run_id, "reused": sent.reused}
            done.append(document)
            task.advance(1)
    if as_json:
        output.print_json(done)
        return
    for document in done:
        if "tensorboard" in document:
            typer.echo(f"{document['run_id']}  tensorboard  {document['tensorboard']}")
        if "mlflow" in document:
            reused = "  reused" if document["mlflow"]["reused"] else ""
            typer.echo(f"{document['run_id']}  mlflow       {document['mlflow']['run_id']}{reused}")
