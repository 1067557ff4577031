"""A registry's challenge in, the authorization header for the next request out.

`WWW-Authenticate: Basic` is answered with the credentials themselves, `Bearer` with a token that the named realm
gives for them (the token specification of CNCF distribution): by GET with Basic authorization, or, for an identity
token, by POST as OAuth2 has it. Tokens are kept per scope until shortly before they end.
"""

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from envbuild.errors import RegistryError

from ..fetching.session import read_whole
from .credentials import Credentials
from .reference import is_loopback

if TYPE_CHECKING:
    import requests

_CLIENT = "envbuild"
_LIFE = 60
"""Seconds that a token lives when the realm does not say: the specification's default."""
_MARGIN = 0.8
"""The part of a token's life after which a new one is asked for."""
_TIMEOUT = (10, 30)
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True)
class Challenge:
    """What a 401 asks for (RFC 9110, section 11.6.1)."""

    scheme: str
    """`basic` or `bearer`."""
    parameters: dict[str, str]


def parse_challenge(header: str) -> Challenge | None:
    """The first challenge of a WWW-Authenticate header that can be met, or `None`."""
    for scheme in ("bearer", "basic"):
        found = re.search(rf"(?:^|,)\s*{scheme}(?:\s+|$)", header, re.IGNORECASE)
        if found:
            parameters = {
                name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare
                for name, quoted, bare in _PARAMETER.findall(header[found.end() :])
            }
            return Challenge(scheme, parameters)
    return None


class Authorization:
    """What one registry was told about us. May be used by several threads."""

    def __init__(self, registry: str, credentials: Credentials | None, *, insecure: bool, verify: str | bool) -> None:
        self.credentials = credentials
        self._registry = registry
        self._insecure = insecure
        self._verify = verify
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}
        self._lock = threading.Lock()

    def header(self, scopes: Sequence[str]) -> str | None:
        """The header for a request that needs `scopes`, as far as the registry has asked for one before."""
        with self._lock:
            if self._challenge is None:
                return None
            if self._challenge.scheme == "basic":
                return self.credentials.basic() if self.credentials and self.credentials.password else None
            return f"Bearer {self._token(self._challenge, tuple(scopes))}"

    def refused(self, challenge: Challenge, scopes: Sequence[str], sent: str | None) -> bool:
        """Note a 401 for a request with the header `sent`; return whether another try with a new one can help."""
        with self._lock:
            self._challenge = challenge
            self._tokens.pop(tuple(scopes), None)
            if challenge.scheme == "basic":
                known = self.credentials is not None and bool(self.credentials.password)
                return known and not (sent or "").startswith("Basic ")
            return True

    def clean(self, text: str) -> str:
        """`text` without anything secret that an answer may have repeated."""
        with self._lock:
            tokens = [token for token, _ in self._tokens.values()]
        for secret in (*tokens, *(self.credentials.secrets if self.credentials else ())):
            text = text.replace(secret, "***")
        return text

    def _token(self, challenge: Challenge, scopes: tuple[str, ...]) -> str:
        known = self._tokens.get(scopes)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        realm = challenge.parameters.get("realm", "")
        self._check_realm(realm)
        answer = self._ask(realm, challenge.parameters.get("service", ""), scopes)
        try:
            document: dict[str, Any] = answer.json()
            token = str(document.get("token") or document["access_token"])
            life = float(document.get("expires_in") or _LIFE)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise RegistryError(
                f"{realm}, which {self._registry} sends for a token, gave none; ask who runs the registry"
            ) from None
        self._tokens[scopes] = (token, time.monotonic() + life * _MARGIN)
        return token

    def _check_realm(self, realm: str) -> None:
        """A secret goes to the realm: only through TLS, unless plain http is allowed as for the registry itself."""
        try:
            parts = urlsplit(realm)
        except ValueError:
            parts = urlsplit("")
        plain = parts.scheme == "http" and (self._insecure or is_loopback(parts.netloc))
        if not parts.hostname or not (parts.scheme == "https" or plain):
            raise RegistryError(
                f"{self._registry} sends for a token to {realm!r}, which is no https address; "
                "allow plain http with --insecure only in a network that you trust"
            )

    def _ask(self, realm: str, service: str, scopes: tuple[str, ...]) -> "requests.Response":
        import requests

        who = self.credentials
        try:
            if who is not None and who.identity_token:
                form = {
                    "grant_type": "refresh_token",
                    "service": service,
                    "client_id": _CLIENT,
                    "scope": " ".join(scopes),
                    "refresh_token": who.identity_token,
                }
                answer = requests.post(
                    realm, data=form, auth=ExactHeaders({}), timeout=_TIMEOUT, verify=self._verify,
                    allow_redirects=False, stream=True,
                )  # fmt: skip
            else:
                query = [("service", service), *(("scope", scope) for scope in scopes)]
                headers = {"Authorization": who.basic()} if who is not None else {}
                answer = requests.get(
                    realm, params=query, auth=ExactHeaders(headers), timeout=_TIMEOUT, verify=self._verify,
                    allow_redirects=False, stream=True,
                )  # fmt: skip
            read_whole(answer)
        except requests.RequestException as error:
            raise RegistryError(
                f"{realm}, which {self._registry} sends for a token, cannot be reached ({type(error).__name__})"
            ) from None
        gone = answer.status_code == 400 and who is not None and who.identity_token  # RFC 6749, 5.2: invalid_grant
        if answer.status_code in (401, 403) or gone:
            raise RegistryError(self.advice(), status=401 if gone else answer.status_code)
        if answer.status_code != 200:
            raise RegistryError(
                f"{realm}, which {self._registry} sends for a token, answered {answer.status_code}; try again later",
                status=answer.status_code,
            )
        return answer

    def advice(self) -> str:
        """The sentence for a 401 that cannot be mended here."""
        if self.credentials is None:
            return f"{self._registry} wants credentials, and none are stored; log in: docker login {self._registry}"
        return (
            f"{self._registry} refuses the credentials from {self.credentials.origin}; "
            f"log in again: docker login {self._registry}"
        )


class ExactHeaders:
    """Gives a request exactly these headers; without it, `requests` would add what ~/.netrc has for the host."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: "requests.PreparedRequest") -> "requests.PreparedRequest":
        request.headers.update(self._headers)
        return request
