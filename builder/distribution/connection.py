"""One registry over HTTP: where it answers, who we are to it, what is tried again, and how its refusals read.

https is tried first. Plain http is used only where it may be: on this machine's own addresses, and with `insecure`.
What passes (a cut connection, 429, 5xx) is tried again with growing pauses; everything else is one sentence with the
registry's own words.
"""

import json
import os
import re
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from envbuild.errors import RegistryError

from ..fetching.certificates import certificates
from ..fetching.session import new_session, read_whole
from .authorization import Authorization, ExactHeaders, parse_challenge
from .credentials import find_credentials
from .reference import is_loopback

if TYPE_CHECKING:
    import requests

_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"
_LONGEST_PAUSE = 30.0
_AGENT = "envbuild"
_PARALLEL = 4

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Patience:
    """How long to wait for a registry."""

    tries: int = 5
    connect: float = 10
    """Seconds."""
    read: float = 120
    """Seconds between two pieces of an answer: a registry checks a whole layer before it answers."""


class Stopped(Exception):
    """The work was given up (Ctrl-C, another thread's error); nobody sees this."""


class Connection:
    """A registry. May be used by several threads.

    Raises:
        RegistryError: the credentials that are stored for it cannot be read.
    """

    def __init__(self, registry: str, repository: str, *, insecure: bool = False, patience: Patience | None = None):
        self.registry = registry
        self.stop = threading.Event()
        """Set it, and every transfer ends at its next piece."""
        self.patience = patience or Patience()
        self._host = _HUB_HOST if registry == _HUB else registry
        self._plain_allowed = insecure or is_loopback(registry)
        self._verify = certificates()
        credentials = find_credentials(registry, repository, os.environ)
        self.authorization = Authorization(registry, credentials, insecure=self._plain_allowed, verify=self._verify)
        self._base: str | None = None
        self._finding = threading.Lock()
        self._local = threading.local()

    def send(
        self,
        method: str,
        place: str,
        what: str,
        *,
        scopes: Sequence[str],
        ok: Collection[int],
        headers: Mapping[str, str] | None = None,
        body: "Callable[[], IO[bytes]] | None" = None,
        data: bytes | None = None,
        stream: bool = False,
        again: bool = True,
    ) -> "requests.Response":
        """Send one request and return an answer whose status is in `ok`.

        `place` is a path below `/v2/` or what `location` gave; `what` is for errors, for instance `the tag 1`; `body`
        makes the body anew for every try. With `again` false nothing but a 401 is tried again: for uploads, which
        must ask first how much has arrived.

        Raises:
            RegistryError: the registry cannot be reached, or answered something else.
            Stopped: `stop` was set.
        """
        for attempt in range(1, self.patience.tries + 1):
            last = not again or attempt == self.patience.tries
            try:
                answer = self._send_authorized(method, place, what, scopes, headers, body, data, stream)
            except _Unreachable as error:
                if error.untrusted:
                    raise RegistryError(f"{self.registry} cannot be trusted: {error}") from None
                if last:
                    raise RegistryError(
                        f"{self.registry} cannot be reached ({error}); nothing is lost, the same command goes on later"
                    ) from None
                self._pause(attempt, None)
                continue
            if answer.status_code in ok:
                return answer
            if last or not (answer.status_code == 429 or answer.status_code >= 500):
                refusal = self._refusal(answer, what)
                raise RegistryError(refusal, status=answer.status_code, answer=answer.text)
            self._pause(attempt, answer.headers.get("Retry-After"))
        raise AssertionError("the last try returns or raises")

    def location(self, answer: "requests.Response") -> str:
        """The address that an answer's Location header names.

        Raises:
            RegistryError: there is none, or it leaves TLS.
        """
        try:
            there = urljoin(answer.url, answer.headers["Location"])
            usable = urlsplit(there).scheme == "https" or self._plain_allowed
        except (KeyError, ValueError):
            usable = False
        if not usable:
            raise RegistryError(f"{self.registry} names no usable place to send to; ask who runs the registry")
        return there

    def wait(self, seconds: float) -> None:
        """Let time pass, in whatever thread.

        Raises:
            Stopped: `stop` was set.
        """
        if self.stop.wait(seconds):
            raise Stopped

    def in_parallel(self, work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
        """`work` for every item, several at a time, in order; the first error, and Ctrl-C, ends all transfers."""
        with ThreadPoolExecutor(_PARALLEL) as pool:
            jobs = [pool.submit(work, item) for item in items]
            try:
                for job in as_completed(jobs):
                    job.result()
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            return [job.result() for job in jobs]

    def _send_authorized(
        self, method: str, place: str, what: str, scopes: Sequence[str], headers: Mapping[str, str] | None,
        body: "Callable[[], IO[bytes]] | None", data: bytes | None, stream: bool,
    ) -> "requests.Response":  # fmt: skip
        url = place if "://" in place else f"{self._find()}/v2/{place}"
        parts = urlsplit(url)
        if parts.scheme != "https" and not self._plain_allowed:
            raise RegistryError(f"{self.registry} leads to {url} for {what}, without TLS; ask who runs the registry")
        ours = parts.netloc == urlsplit(self._find()).netloc
        for _ in range(3):
            whole = {"User-Agent": _AGENT, **(headers or {})}
            authorization = self.authorization.header(scopes) if ours else None
            if authorization:
                whole["Authorization"] = authorization
            answer = self._once(method, url, whole, body() if body else data, stream)
            if answer.status_code != 401 or not ours:
                return answer
            challenge = parse_challenge(answer.headers.get("WWW-Authenticate", ""))
            if challenge is None or not self.authorization.refused(challenge, scopes, authorization):
                raise RegistryError(self.authorization.advice(), status=401)
            known = authorization is not None and self.authorization.credentials is not None
            if known and challenge.parameters.get("error") == "insufficient_scope":
                raise RegistryError(self._refusal(answer, what), status=403)
        raise RegistryError(self.authorization.advice(), status=401)

    def _find(self) -> str:
        """`scheme://host` of the registry, found by asking once (OCI distribution specification, end-1)."""
        with self._finding:
            if self._base is None:
                self._base = self._probe()
            return self._base

    def _probe(self) -> str:
        try:
            self._once("GET", f"https://{self._host}/v2/", {}, None, False)
            return f"https://{self._host}"
        except _Unreachable as error:
            if not self._plain_allowed:
                if error.plain:
                    raise RegistryError(
                        f"{self.registry} answers plain http, not https; if you trust the network, add --insecure"
                    ) from None
                raise
            plain = self._once("GET", f"http://{self._host}/v2/", {}, None, False)
            if plain.status_code == 400:  # a TLS server's answer to plain http: what went wrong before is the reason
                raise
            return f"http://{self._host}"

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: "IO[bytes] | bytes | None", stream: bool
    ) -> "requests.Response":
        import requests

        if self.stop.is_set():
            raise Stopped
        try:
            answer = self._session().request(
                method, url, data=body, auth=ExactHeaders(dict(headers)), stream=True, verify=self._verify,
                allow_redirects=method in ("GET", "HEAD"), timeout=(self.patience.connect, self.patience.read),
            )  # fmt: skip
            return answer if stream and answer.ok else read_whole(answer)
        except requests.RequestException as error:
            raise _Unreachable(error) from None

    def _session(self) -> "requests.Session":
        """A session of the thread's own: `requests` does not promise that one can be shared."""
        if not hasattr(self._local, "session"):
            self._local.session = new_session()
        session: requests.Session = self._local.session
        return session

    def _pause(self, attempt: int, retry_after: str | None) -> None:
        seconds = 0.2 * 2**attempt
        if retry_after and retry_after.isdecimal():
            seconds = max(seconds, float(retry_after))
        self.wait(min(seconds, _LONGEST_PAUSE))

    def _refusal(self, answer: "requests.Response", what: str) -> str:
        said = self.authorization.clean(_own_words(answer))
        begin = f"{self.registry} answered {answer.status_code} for {what}{f' ({said})' if said else ''}"
        if answer.status_code in (401, 403):
            return f"{begin}; the account may not do this: ask who runs the registry for access"
        if answer.status_code == 404 and answer.request.method in ("POST", "PUT"):
            return f"{begin}; check the name, and whether the repository must be made there before a push"
        if answer.status_code == 413:
            return (
                f"{begin}: more than it, or a proxy before it, takes at once; set a smaller chunk-size in "
                "envbuild.toml [registry], for instance 8MiB"
            )
        if answer.status_code == 404:
            return f"{begin}; check the name, and whether it was pushed"
        if answer.status_code == 429:
            return f"{begin}: too many requests; wait a while, then the same command goes on"
        if answer.status_code >= 500:
            return f"{begin}; nothing is lost, the same command goes on later"
        return begin


class _Unreachable(Exception):
    """No answer came."""

    def __init__(self, cause: Exception) -> None:
        text = str(cause)
        self.plain = "WRONG_VERSION_NUMBER" in text or "record layer failure" in text.lower()
        self.untrusted = "CERTIFICATE_VERIFY_FAILED" in text
        """Its certificate does not convince: another try will find the same."""
        super().__init__(_distrust(text) if self.untrusted else what_broke(cause))


def _distrust(text: str) -> str:
    """What OpenSSL has against a certificate, and what helps."""
    found = re.search(r"certificate verify failed: (.*?)\.? \(_ssl", text)
    why = found.group(1) if found else "verification failed"
    if "mismatch" in why or "expired" in why or "not yet valid" in why:
        return f"{why}; ask who runs the registry"
    return (
        f"its certificate is not known here ({why}); if you know it to be right, name a file with it, or with that of "
        "its authority, in REQUESTS_CA_BUNDLE or SSL_CERT_FILE"
    )


def what_broke(cause: Exception) -> str:
    """The one thing worth knowing out of urllib3's nested messages."""
    text = str(cause)
    for sign, reason in (
        ("Connection refused", "connection refused"),
        ("Name or service not known", "its name is not known"),
        ("name resolution", "its name cannot be looked up"),
        ("timed out", "it did not answer in time"),
        ("Network is unreachable", "the network is unreachable"),
        ("Connection reset", "the connection was reset"),
        ("closed connection", "the connection was cut"),
        ("Broken pipe", "the connection was cut"),
        ("Connection broken", "the connection was cut"),
        ("IncompleteRead", "the connection was cut"),
        ("[SSL", "it does not speak TLS as we do"),
    ):
        if sign.lower() in text.lower():
            return reason
    return type(cause).__name__


def _own_words(answer: "requests.Response") -> str:
    """The registry's error codes and messages (OCI distribution specification, "Error codes"), shortened."""
    try:
        errors = json.loads(answer.text)["errors"]
        said = "; ".join(f"{each.get('code', '')} {each.get('message', '')}".strip() for each in errors)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return " ".join(said.split())[:200]
