"""Debian's docker-registry as the tests' registry, and a proxy before it that counts, cuts and refuses."""

import base64
import http.client
import http.server
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harness import PATIENCE, need


@contextmanager
def docker_registry(folder: Path, auth: str = "", tls: str = "") -> Iterator[str]:
    """A registry with its storage in `folder`; yields `127.0.0.1:PORT`.

    `auth` is YAML for its `auth` section, `tls` is YAML for `http.tls`.
    """
    program = need("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {folder / 'data'}}}, "
        f"delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:0', secret: test{tls and f', tls: {tls}'}}}\n{auth}"
    )
    log = folder / "registry.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=output, stderr=output)
        try:
            yield f"127.0.0.1:{_port(process, log)}"
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text(errors="replace"))
        if found:
            return int(found.group(1))
        assert process.poll() is None, log.read_text(errors="replace")
        time.sleep(0.05)
    raise AssertionError(f"docker-registry did not start: {log.read_text(errors='replace')}")


@dataclass
class Seen:
    """One request as the proxy saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: int = 0
    """Bytes of the request's body that arrived."""
    status: int = 0


Rule = Callable[[Seen], "int | tuple[int, str] | tuple[str, int] | None"]
"""For a request: an HTTP status to answer instead, or status and body; `("up", n)` or `("down", n)`, to cut the
connection after n bytes of the request's or answer's body; `("damage", n)`, to change byte n of the answer; or `None`.
"""


@dataclass
class Proxy:
    """A proxy before a registry."""

    address: str
    seen: list[Seen] = field(default_factory=list)
    rule: Rule = lambda _: None
    retry_after: str = ""

    def uploaded(self) -> int:
        """Bytes of blobs that were sent to the registry."""
        return sum(each.body for each in self.seen if "/blobs/uploads/" in each.path)

    def forget(self) -> None:
        self.seen.clear()


@contextmanager
def proxy_before(registry: str) -> Iterator[Proxy]:
    """Start a proxy for `registry` on a loopback port."""
    proxy = Proxy("")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            seen = Seen(self.command, self.path, {key.lower(): value for key, value in self.headers.items()})
            proxy.seen.append(seen)
            action = proxy.rule(seen)
            cut_up = action[1] if isinstance(action, tuple) and action[0] == "up" else None
            body = self._read_body(seen, cut_up)
            if body is None:
                return self._cut()
            status, text = action if isinstance(action, tuple) else (action, "")
            if isinstance(status, int):
                seen.status = status
                headers = {"Retry-After": proxy.retry_after} if proxy.retry_after else {}
                return self._answer(status, headers, str(text).encode())
            upstream = http.client.HTTPConnection(registry, timeout=PATIENCE)
            try:
                # the Host header stays: the registry makes its Location headers of it, so the client comes back here
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():  # some of them twice, as skopeo's Accept
                    upstream.putheader(name, value)
                upstream.endheaders(body)
                answer = upstream.getresponse()
                data = answer.read()
            finally:
                upstream.close()
            seen.status = answer.status
            self._relay(answer.status, dict(answer.getheaders()), data, action)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass

        def _read_body(self, seen: Seen, cut: int | None) -> bytes | None:
            left = int(self.headers.get("Content-Length") or 0)
            data = bytearray()
            while left and (cut is None or seen.body < cut):
                piece = self.rfile.read1(min(left, 1 << 16))  # type: ignore[attr-defined]
                if not piece:
                    return None
                data += piece
                seen.body += len(piece)
                left -= len(piece)
            return None if cut is not None and seen.body >= cut else bytes(data)

        def _relay(self, status: int, headers: dict[str, str], data: bytes, action: Any) -> None:
            if isinstance(action, tuple) and action[0] == "down":
                self._answer(status, headers, data, send=action[1])
                return self._cut()
            if isinstance(action, tuple) and action[0] == "damage":
                changed = bytearray(data)
                changed[action[1]] ^= 1
                data = bytes(changed)
            return self._answer(status, headers, data)

        def _answer(self, status: int, headers: dict[str, str], data: bytes, send: int | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            length = headers.get("Content-Length", str(len(data))) if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[:send])

        def _cut(self) -> None:
            self.close_connection = True
            self.connection.close()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.address = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class TokenServer:
    """A token endpoint, as registries have them beside them."""

    config: str
    """YAML for docker-registry's `auth`."""
    issued: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """User and scopes of every token, as asked for."""
    may_push: bool = True
    identity_tokens: dict[str, str] = field(default_factory=dict)
    """Identity token -> user; they are exchanged as OAuth2 refresh tokens."""


@contextmanager
def token_server(folder: Path, users: Mapping[str, str]) -> Iterator[TokenServer]:
    """Issues tokens that docker-registry verifies: RS256 with the certificate in `x5c` (RFC 7515, section 4.1.6)."""
    openssl = need("openssl")
    folder.mkdir()
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    line = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2"]
    subprocess.run([openssl, *line, "-subj", "/CN=tokens"], check=True, capture_output=True)
    server = TokenServer("")

    def token(user: str, scopes: Sequence[str]) -> str:
        actions = {"pull", "push"} if server.may_push else {"pull"}
        access = [
            {"type": kind, "name": name, "actions": sorted(actions & set(asked.split(",")))}
            for kind, name, asked in (scope.split(":") for scope in scopes)
        ]
        now = int(time.time())
        claims = {"iss": "tokens", "sub": user, "aud": "registry", "exp": now + 300, "nbf": now - 10, "iat": now}
        pem = "".join(certificate.read_text().splitlines()[1:-1])
        head = {"typ": "JWT", "alg": "RS256", "x5c": [pem]}
        text = b".".join(_base64url(json.dumps(each).encode()) for each in (head, {**claims, "access": access}))
        signed = subprocess.run(
            [openssl, "dgst", "-sha256", "-sign", key], input=text, capture_output=True, check=True
        ).stdout
        return (text + b"." + _base64url(signed)).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            scopes = query.get("scope", [])
            given = self.headers.get("Authorization", "")
            user, _, password = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
            if users.get(user) != password:
                self.send_error(401)
                return
            self._issue("token", user, scopes)

        def do_POST(self) -> None:
            """The OAuth2 endpoint of CNCF distribution's specification: POST, and `access_token` in the answer."""
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            user = server.identity_tokens.get(form.get("refresh_token", [""])[0])
            complete = form.get("grant_type") == ["refresh_token"] and {"service", "client_id"} <= form.keys()
            if user is None or not complete or "Authorization" in self.headers:
                self._answer(400, {"error": "invalid_grant"})  # RFC 6749, section 5.2
                return
            self._issue("access_token", user, form.get("scope", [""])[0].split())

        def _issue(self, name: str, user: str, scopes: Sequence[str]) -> None:
            server.issued.append((user, tuple(scopes)))
            self._answer(200, {name: token(user, scopes), "expires_in": 300})

        def _answer(self, status: int, document: object) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    realm = f"http://127.0.0.1:{http_server.server_address[1]}/token"
    server.config = (
        f"auth: {{token: {{realm: '{realm}', service: registry, issuer: tokens, rootcertbundle: {certificate}}}}}\n"
    )
    threading.Thread(target=http_server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        http_server.shutdown()
        http_server.server_close()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
