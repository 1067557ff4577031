"""What TensorBoard's event files hold beside numbers and texts: histograms as a heat map, pictures as they are."""

from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from envbuild.errors import NotFound
from envbuild.studio.files import asked_file
from envbuild.studio.heat_map import heat_map, spread
from envbuild.studio.render import json_response
from envbuild.studio.security import FILE_POLICY
from envbuild.studio.sendable import sendable
from envbuild.trainer.metrics import RunMetrics, Stored
from envbuild.trainer.metrics.event_files import read_event_files, read_stored
from envbuild.trainer.metrics.event_values import Histogram, Images

from .run import run_of, whole_number

MOST_STEPS = 60
"""Steps of a heat map, or of a row of pictures, that are shown."""

MOST_PICTURES = 16
"""Pictures of one step that are shown."""

_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}
"""How the pictures begin that TensorBoard's writers make and browsers draw."""


def histograms(request: Request) -> Response:
    """The heat map of the histograms `name` of TensorBoard's folder `run`."""
    folder = run_of(request).folder
    found = []
    for stored in _asked(request, "histogram"):
        content = read_stored(folder, stored)
        if isinstance(content, Histogram):
            found.append((stored.step, content))
    return json_response(heat_map(found))


def pictures(request: Request) -> Response:
    """`[{"step", "time", "addresses"}]` of the pictures `name` of TensorBoard's folder `run`."""
    run = run_of(request)
    place = request.app.url_path_for("run_picture", experiment=run.experiment, run_id=run.run_id)
    found: list[dict[str, Any]] = []
    for stored in _asked(request, "image"):
        content = read_stored(run.folder, stored)
        count = len(content.encoded) if isinstance(content, Images) else 0
        addresses = [f"{place}?{_query(stored, number)}" for number in range(min(count, MOST_PICTURES))]
        found.append({"step": stored.step, "time": stored.time, "addresses": addresses})
    return json_response(found)


def picture(request: Request) -> Response:
    """One picture, when it is one that browsers draw."""
    place = {name: whole_number(request, name) for name in ("position", "value", "number")}
    file = asked_file(request)
    stored = Stored("", "image", 0.0, 0, "", file, place["position"], place["value"])
    content = read_stored(run_of(request).folder, stored)
    encoded = content.encoded[place["number"] :][:1] if isinstance(content, Images) else ()
    for data in encoded:
        for beginning, media_type in _BEGINNINGS.items():
            if data.startswith(beginning):
                return Response(data, media_type=media_type, headers={"content-security-policy": FILE_POLICY})
    raise NotFound(f"{file} holds no picture at byte {place['position']} that a browser draws")


def _asked(request: Request, kind: str) -> list[Stored]:
    name, run = request.query_params.get("name", ""), request.query_params.get("run", "")
    found = RunMetrics()
    read_event_files(run_of(request).folder, found)
    stored = [each for each in found.stored if each.kind == kind and _shown(each) == (name, run)]
    return spread(stored, MOST_STEPS)


def _shown(stored: Stored) -> tuple[str, str]:
    """Its name and folder, as the page was told them."""
    return sendable(stored.name), sendable(stored.run)


def _query(stored: Stored, number: int) -> str:
    file = quote(stored.file.encode("utf-8", "surrogateescape"))
    return urlencode({"file": file, "position": stored.position, "value": stored.value, "number": number})


_RUN = "/runs/{experiment}/{run_id}"

ROUTES = [
    Route(f"{_RUN}/histograms", histograms, name="run_histograms"),
    Route(f"{_RUN}/pictures", pictures, name="run_pictures"),
    Route(f"{_RUN}/picture", picture, name="run_picture"),
]
