"""Canceling a run from its page: a question, and then what `envbuild runs cancel` does, without waiting for the end."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from envbuild.studio.render import render
from envbuild.studio.security import Form, form_route
from envbuild.trainer.cancel import cancel_requested, request_cancel
from envbuild.trainer.run import supervisor_is_here, supervisor_place
from envbuild.trainer.targets import GRACE

from .run import run_of


def confirm_cancel(request: Request) -> Response:
    """Asks once more."""
    run = run_of(request)
    return render(
        request,
        "cancel.html",
        run=run,
        canceling=cancel_requested(run),
        here=supervisor_is_here(run),
        place=supervisor_place(run),
        grace=GRACE,
    )


def cancel(request: Request, _: Form) -> Response:
    """Asks the job to end, and shows the run, whose page then follows how it does.

    Raises:
        InputError: it has ended already, or is supervised on another machine.
        EnvbuildError: the signal is not allowed.
    """
    run = run_of(request)
    request_cancel(run)
    page = request.app.url_path_for("run", experiment=run.experiment, run_id=run.run_id)
    return RedirectResponse(page, status_code=303)


_PATH = "/runs/{experiment}/{run_id}/cancel"

ROUTES = [
    Route(_PATH, confirm_cancel, name="confirm_cancel"),
    form_route(_PATH, cancel, name="cancel"),
]
