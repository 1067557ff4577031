"""Environments: their versions, what is in one, why it was built, and what changed from one to another."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from envbuild.errors import NotFound
from envbuild.registry.compare import diff, explain, locked
from envbuild.registry.environments import Environment, list_environments, load
from envbuild.registry.history import history
from envbuild.registry.index import list_versions
from envbuild.registry.tags import tags_by_version
from envbuild.studio import logs
from envbuild.studio.files import file_response, open_file
from envbuild.studio.render import render
from envbuild.trainer.run import list_runs

from .run import window_response

MOST_RUNS = 20
"""Runs of an environment that its page lists."""


@dataclass(frozen=True)
class SharedLayer:
    """A layer, and who else has it."""

    diff_id: str
    size: int
    title: str
    packages: Sequence[str]
    others: Sequence[str]
    """`NAME:VERSION` of every other environment that is made of it too."""


def page_of_environments(request: Request) -> Response:
    """Every environment with its newest version."""
    listing = list_versions(request.app.state.home)
    newest = {entry.name: entry for entry in listing.entries}
    counts = {name: sum(1 for entry in listing.entries if entry.name == name) for name in newest}
    return render(
        request, "environments.html", entries=list(newest.values()), counts=counts, damaged=listing.damaged
    )  # fmt: skip


def page_of_environment(request: Request) -> Response:
    """The versions of one environment, what happened under its name, and two versions to compare."""
    home, name = request.app.state.home, request.path_params["name"]
    events = history(home, name)
    entries = list_versions(home, name).entries[::-1]
    return render(
        request, "environment.html", name=name, entries=entries, tags=tags_by_version(home, name), events=events[::-1]
    )  # fmt: skip


def page_of_version(request: Request) -> Response:
    """One version: identities, layers, packages, why it was built, its log, the runs that used it."""
    environment = _version(request)
    home = request.app.state.home
    runs = [run for run in list_runs(home) if run.environment == environment.reference]
    with open_file(environment.folder, environment.build_log.name) as file:
        window = logs.window_at_end(file)
    layers = shared_layers(environment, list_environments(home))
    return render(
        request, "version.html", environment=environment, record=environment.record, layers=layers,
        shared=[layer for layer in layers if layer.others], packages=locked(environment).packages,
        why=explain(environment, None, request.app.state.settings), runs=runs[:MOST_RUNS],
        more_runs=max(0, len(runs) - MOST_RUNS), files=_files(environment.folder), window=window,
    )  # fmt: skip


def page_of_difference(request: Request) -> Response:
    """What changed from one environment to another: `from` and `to`, each NAME or NAME:VERSION."""
    home, query = request.app.state.home, request.query_params
    before, after = load(home, query.get("from", "")), load(home, query.get("to", ""))
    return render(
        request, "difference.html", found=diff(before, after), why=explain(after, before, request.app.state.settings)
    )  # fmt: skip


def version_window(request: Request) -> Response:
    """Part of the build log."""
    environment = _version(request)
    with open_file(environment.folder, environment.build_log.name) as file:
        return window_response(request, file)


def version_file(request: Request) -> Response:
    """A file of the version, to be saved."""
    environment = _version(request)
    return file_response(environment.folder, request.path_params["file"])


def shared_layers(environment: Environment, every: Sequence[Environment]) -> list[SharedLayer]:
    """The layers of `environment`, the topmost first, with the other environments that have them."""
    owners: dict[str, list[str]] = {}
    for other in every:
        if other.reference != environment.reference:
            for layer in other.layers:
                owners.setdefault(layer.diff_id, []).append(other.reference)
    return [
        SharedLayer(layer.diff_id, layer.size, layer.title, layer.packages, owners.get(layer.diff_id, ()))
        for layer in reversed(environment.layers)
    ]


def _version(request: Request) -> Environment:
    name, version = request.path_params["name"], request.path_params["version"]
    if not version.isdecimal():
        raise NotFound(f"{version!r} is no version; versions are numbers")
    return load(request.app.state.home, f"{name}:{version}")


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


ROUTES = [
    Route("/environments", page_of_environments, name="environments"),
    Route("/difference", page_of_difference, name="difference"),
    Route("/environments/{name}", page_of_environment, name="environment"),
    Route("/environments/{name}/{version}", page_of_version, name="version"),
    Route("/environments/{name}/{version}/window", version_window, name="version_window"),
    Route("/environments/{name}/{version}/file/{file}", version_file, name="version_file"),
]
