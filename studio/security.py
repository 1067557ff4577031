"""Who may ask, and what an answer may do in a browser.

A page that listens on 127.0.0.1 is reachable from every web site that its user visits (DNS rebinding, forms and images
of other origins). So every request must name a host that is ours (`Host`), other sites may only link to us
(`Sec-Fetch-Site`), and what changes something must come from our own page (`Origin`) and carry a token that only our
page knows: an HMAC of a SameSite=Strict cookie, under a secret that lives as long as the process. And 127.0.0.1 is one
for all users of a machine: connections of others are refused.

Answers run only scripts that we ship: no inline script, nothing from elsewhere (Content Security Policy, level 3).
"""

import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .peer import is_foreign_user

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""`style-src-attr`: the chart library places its labels by style attributes; a style cannot run anything."""

FILE_POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
"""For files that a job or a user wrote: `sandbox` gives them an origin of their own, and no script."""

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_ANY = ("0.0.0.0", "::", "")
_LARGEST_FORM = 1 << 20
_FIXED_HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

Form = Mapping[str, Sequence[str]]
"""Field -> its values."""


@dataclass(frozen=True)
class Door:
    """What the studio answers to."""

    host: str
    """The address it is bound to."""
    port: int
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    @property
    def cookie(self) -> str:
        """Cookies know no ports: two studios must not share one."""
        return f"envbuild_studio_{self.port}"

    def knows(self, host: str) -> bool:
        """Whether the `Host` header `host` means us.

        Bound to every address, any literal address does: rebinding needs a name.
        """
        name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if not colon:
            name, port = host, "80"
        name, own = name.lower(), self.host.lower()  # names know no case, and browsers write them in lower case
        if port != str(self.port):
            return False
        if name in _LOOPBACK or name in (own, f"[{own}]"):
            return True
        return self.host in _ANY and (name == socket.gethostname().lower() or _is_address(name.strip("[]")))

    def token(self, session: str) -> str:
        """What a form of the session's pages carries."""
        return hmac.new(self.secret, session.encode(), hashlib.sha256).hexdigest()


class Guard:
    """Refuses requests that are not our page's or its user's, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = refuse(self._door, scope["method"], Headers(scope=scope))
        if scope.get("client") and is_foreign_user(tuple(scope["client"]), tuple(scope.get("server") or ("", 0))):
            refusal = "this studio belongs to another user of this machine; start your own: envbuild studio --port 0"
        session = Request(scope).cookies.get(self._door.cookie, "")
        fresh = not session.isalnum()
        session = secrets.token_hex(16) if fresh else session
        scope.setdefault("state", {})["csrf"] = self._door.token(session)

        async def dress(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _FIXED_HEADERS.items():
                    headers.setdefault(name, value)
                if fresh and refusal is None:
                    headers.append("set-cookie", f"{self._door.cookie}={session}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        if refusal is None:
            await self._app(scope, receive, dress)
        else:
            await PlainTextResponse(refusal + "\n", status_code=403)(scope, receive, dress)


def refuse(door: Door, method: str, headers: Headers) -> str | None:
    """Why a request with these headers is not answered; `None` when it is."""
    if not door.knows(headers.get("host", "")):
        return f"this studio is not reached under the host {headers.get('host', '')!r}; use 127.0.0.1:{door.port}"
    site = headers.get("sec-fetch-site", "none")
    if method not in ("GET", "HEAD"):
        origin = headers.get("origin", "")
        if not origin.startswith("http://") or not door.knows(origin.removeprefix("http://")):
            return "a change must come from the studio's own page: the Origin header names another"
        if site not in ("same-origin", "none"):
            return "a change must come from the studio's own page: Sec-Fetch-Site says that it does not"
    elif site not in ("same-origin", "none") and headers.get("sec-fetch-mode") != "navigate":
        return "other sites may link to the studio, but not load its pages or files"
    return None


def form_route(path: str, handle: Callable[[Request, Form], Response], name: str) -> Route:
    """A POST route: `handle` (in a thread) gets the form only when its token is right."""

    async def endpoint(request: Request) -> Response:
        body = b""
        try:
            async for piece in request.stream():
                body += piece
                if len(body) > _LARGEST_FORM:
                    return PlainTextResponse("the form is too large\n", status_code=413)
        except ClientDisconnect:
            return PlainTextResponse("the form did not come whole\n", status_code=400)  # which nobody reads
        form = parse_qs(body.decode(errors="replace"), keep_blank_values=True)
        given = "".join(form.get("csrf", ()))
        if not hmac.compare_digest(given.encode(), request.state.csrf.encode()):
            refusal = "the page is older than this studio or not its own; load it again and repeat what you did\n"
            return PlainTextResponse(refusal, status_code=403)
        return await run_in_threadpool(handle, request, form)

    return Route(path, endpoint, methods=["POST"], name=name)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
