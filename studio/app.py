"""A home in, an ASGI application out: every page with its address, and an error page in whole sentences."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from envbuild.errors import EnvbuildError, NotFound
from envbuild.settings import Settings

from .pages import assets, builds, cancel, child, compare, environments, run, runs, stored
from .render import render
from .security import Door, Guard
from .shelf import Shelf


def make_app(settings: Settings, door: Door, closing: Callable[[], bool] = lambda: False) -> Starlette:
    """The studio of the home in `settings`; streams end when `closing` says that the server is about to."""
    app = Starlette(
        routes=[
            Route("/", _front, name="front"),
            *assets.ROUTES,
            *environments.ROUTES,
            *builds.ROUTES,
            *compare.ROUTES,
            *runs.ROUTES,
            *run.ROUTES,
            *cancel.ROUTES,
            *child.ROUTES,
            *stored.ROUTES,
        ],
        middleware=[Middleware(Guard, door=door)],
        exception_handlers={EnvbuildError: _sentence, HTTPException: _refusal, OSError: _unreadable},
    )
    app.state.settings = settings
    app.state.home = settings.home
    app.state.shelf = Shelf()
    app.state.closing = closing
    return app


def _front(request: Request) -> Response:
    return RedirectResponse(str(request.url_for("runs").path))


def _sentence(request: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, NotFound) else 400
    title = "Not found" if status == 404 else "Error"
    return render(request, "error.html", status=status, title=title, text=str(error))


def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = "There is no such page." if error.status_code == 404 else error.detail
    return render(request, "error.html", status=error.status_code, title=error.detail, text=text)


def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    text = f"{error.filename or 'A file'} cannot be read: {error.strerror or error}."
    return render(request, "error.html", status=500, title="Error", text=text)
