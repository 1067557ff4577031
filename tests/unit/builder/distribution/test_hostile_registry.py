"""Whatever a registry answers: one sentence, little memory, and no secret where it does not belong."""

import contextlib
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from envbuild.builder.distribution.connection import Connection, Patience
from envbuild.builder.distribution.memory import Memory
from envbuild.builder.distribution.reference import Reference
from envbuild.builder.distribution.repository import Repository
from envbuild.builder.distribution.upload import upload_blob
from envbuild.builder.image import MANIFEST_TYPE, Blob, digest
from envbuild.builder.pull import find_image
from envbuild.errors import RegistryError

MANY = 64 << 20
"""Bytes: much more than anybody should keep of an answer."""
Answer = tuple[int, dict[str, str], bytes | int]


class Server(ThreadingHTTPServer):
    """Answers every request as `answer` says: status, headers, and the body or only its length."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: Callable[[str, str], Answer] = lambda method, path: (200, {}, b"{}")
        self.seen: list[tuple[str, str, dict[str, str]]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def respond(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        status, headers, body = self.server.answer(self.command, self.path)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(body if isinstance(body, int) else len(body)))
        self.end_headers()
        try:
            if isinstance(body, bytes):
                self.wfile.write(b"" if self.command == "HEAD" else body)
            else:
                piece = b"x" * (1 << 20)
                for _ in range(body >> 20):
                    self.wfile.write(piece)
        except OSError:  # nobody wants more of it
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = respond

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    for name in ("HOME", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


def repository(server: Server) -> Repository:
    place = f"127.0.0.1:{server.server_port}"
    return Repository(Connection(place, "a", patience=Patience(tries=1, connect=5, read=5)), "a", push=True)


@pytest.mark.parametrize("status", [200, 403])
def test_an_answer_without_end_takes_little_memory(server: Server, status: int) -> None:
    server.answer = lambda method, path: (status, {}, MANY)
    there = repository(server)
    tracemalloc.start()
    try:
        with contextlib.suppress(RegistryError):
            there.put_manifest(b"{}", MANIFEST_TYPE)
        assert tracemalloc.get_traced_memory()[1] < MANY // 2
    finally:
        tracemalloc.stop()


def test_a_token_without_end_takes_little_memory(server: Server) -> None:
    realm = f'Bearer realm="http://127.0.0.1:{server.server_port}/token"'
    server.answer = lambda method, path: (
        (200, {}, MANY) if path.startswith("/token") else (401, {"WWW-Authenticate": realm}, b"")
    )
    there = repository(server)
    tracemalloc.start()
    try:
        with pytest.raises(RegistryError, match="gave none"):
            there.has_blob(digest(b"1"))
        assert tracemalloc.get_traced_memory()[1] < MANY // 2
    finally:
        tracemalloc.stop()


def test_a_place_that_is_no_address_is_one_sentence(server: Server) -> None:
    server.answer = lambda method, path: (202 if method == "POST" else 404, {"Location": "http://[::1/x"}, b"")
    with pytest.raises(RegistryError, match="names no usable place"):
        repository(server).put_blob(b"1")


def test_a_redirect_to_what_is_no_address_is_one_sentence(server: Server) -> None:
    server.answer = lambda method, path: (200, {}, b"") if path == "/v2/" else (307, {"Location": "//[::1/x"}, b"")
    with pytest.raises(RegistryError, match="cannot be reached"):
        repository(server).manifest("1")


def test_a_list_that_goes_on_at_no_address_is_one_sentence(server: Server) -> None:
    server.answer = lambda method, path: (200, {"Link": '<http://[::1/x>; rel="next"'}, b'{"manifests": []}')
    with pytest.raises(RegistryError, match="which is no address"):
        repository(server).referrers(digest(b"1"))


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"manifests": ' + b"[" * 100_000])
def test_a_document_of_great_depth_is_one_sentence(server: Server, data: bytes) -> None:
    server.answer = lambda method, path: (200, {}, data)
    there = repository(server)
    with pytest.raises(RegistryError, match="is no manifest"):
        there.manifest("1")
    with pytest.raises(RegistryError, match="is no image index"):
        there.referrers(digest(b"1"))


INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.mark.parametrize(
    ("changes", "config_changes"),
    [
        ({"layers": []}, {}),
        ({"config": {}}, {}),
        ({"layers": [{"digest": digest(b"1"), "size": -1, "mediaType": "m"}]}, {}),
        ({"layers": [{"digest": digest(b"1"), "size": float("inf"), "mediaType": "m"}]}, {}),
        ({"annotations": [1]}, {}),
        ({}, {"config": [1]}),
        ({}, {"config": {"Env": 5}}),
        ({"mediaType": INDEX, "manifests": ["x"]}, {}),
        ({"mediaType": INDEX, "manifests": [{"platform": "x"}]}, {}),
    ],
)
def test_an_image_whose_documents_are_strange_is_one_sentence(
    server: Server, changes: dict[str, Any], config_changes: dict[str, Any]
) -> None:
    described = {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [digest(b"1")]}, **config_changes}
    config = json.dumps(described).encode()
    manifest = {
        "mediaType": MANIFEST_TYPE,
        "config": {"digest": digest(config)},
        "layers": [{"digest": digest(b"1"), "size": 1, "mediaType": "m"}],
        **changes,
    }
    data = json.dumps(manifest).encode()
    server.answer = lambda method, path: (200, {}, data if "/manifests/" in path else config)
    with pytest.raises(RegistryError, match="its documents cannot be read") as error:
        find_image(repository(server), Reference("127.0.0.1", "a", "1"), "linux-64")
    assert "Error(" not in str(error.value)


def test_no_secret_goes_where_a_registry_leads_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection("registry.test", "a")
    monkeypatch.setattr(connection, "_base", "https://registry.test")
    with pytest.raises(RegistryError, match="without TLS"):
        connection.send("GET", "http://registry.test/v2/a/referrers/2", "the list", scopes=(), ok=(200,))


def test_netrc_is_not_asked_for_where_a_redirect_leads(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login ann password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    elsewhere = f"http://localhost:{server.server_port}/elsewhere"
    server.answer = lambda method, path: (
        (307, {"Location": elsewhere}, b"") if "manifests" in path else (200, {}, b"{}")
    )
    repository(server).manifest("1")
    assert [(path, headers.get("Authorization")) for _, path, headers in server.seen][-1] == ("/elsewhere", None)


def test_what_has_arrived_whole_is_ended_without_an_empty_range(server: Server, tmp_path: Path) -> None:
    data = b"12345"
    blob = Blob(digest(data), len(data), "m")
    (tmp_path / "blob").write_bytes(data)
    memory = Memory(tmp_path, "127.0.0.1")
    memory.note_upload("a", blob.digest, f"http://127.0.0.1:{server.server_port}/upload")

    def answer(method: str, path: str) -> Answer:
        if method == "HEAD":
            return 404, {}, b""
        return (201, {}, b"") if method == "PUT" else (204, {"Range": "0-4"}, b"")

    server.answer = answer
    upload_blob(repository(server), blob, tmp_path / "blob", memory, lambda count: None)
    method, _, headers = server.seen[-1]
    assert (method, headers.get("Content-Range"), headers.get("Content-Length")) == ("PUT", None, "0")
