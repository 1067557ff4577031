"""Downloads against a real loopback server that cuts, refuses, lies and recovers."""

import hashlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from envbuild.builder import atomic
from envbuild.builder.fetching import download
from envbuild.builder.fetching.fetch import fetch
from envbuild.builder.lock import LockedPackage
from envbuild.builder.report import Silent
from envbuild.errors import FetchError
from envbuild.settings import Settings

CONTENT = bytes(range(256)) * 16384  # 4 MiB: a cut half-way loses no whole piece
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers each request with the next of `script`; without one, as a server should."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[str] = []
        self.ranges: list[str] = []
        self.authorizations: list[str | None] = []
        self.arrived = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.ranges.append(asked)
        self.server.authorizations.append(self.headers.get("Authorization"))
        act = self.server.script.pop(0) if self.server.script else "serve"
        self.close_connection = True
        if "endless" in self.path:
            self.endless()
            return
        if "gone" in self.path:
            self.server.arrived.wait(60)
            act = "404"
        if act.startswith("redirect"):
            self.send_response(302)
            to = f"//localhost:{self.server.server_port}{self.path}"
            self.send_header("Location", "//[::1/x" if act == "redirect-nowhere" else to)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if act.isdigit():
            self.send_response(int(act))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and act != "ignore-range" else 0
        body = CONTENT[start:] if act != "lie" else b"x" * len(CONTENT)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", "many" if act == "strange-length" else str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if act == "cut" else body)

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for number in itertools.count():
                self.wfile.write(CONTENT[: 1 << 20])
                if number == 2:
                    self.server.arrived.set()
        except OSError:  # nobody wants more of it
            return

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


def package(url: str, sha256: str = SHA256) -> LockedPackage:
    return LockedPackage("conda", "a", "1", url, sha256)


def get(server: Server, folder: Path) -> Path:
    url = f"http://127.0.0.1:{server.server_port}/noarch/a-1-0.conda"
    return fetch([package(url)], folder, Silent(), Settings(home=folder))[SHA256]


def test_a_package_gets_its_name_once_and_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    file = get(server, tmp_path)
    assert file == tmp_path / SHA256 / "a-1-0.conda"
    assert file.read_bytes() == CONTENT
    assert get(server, tmp_path) == file
    assert server.ranges == [""]


def test_a_cut_connection_is_continued_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.script = ["cut"]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["", f"bytes={len(CONTENT) // 2}-"]


def test_a_server_that_knows_no_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.script = ["cut", "ignore-range"]
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_fault_of_the_server_is_tried_again(server: Server, tmp_path: Path) -> None:
    server.script = ["500", "503", "429"]
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_lasting_fault_keeps_the_part_for_the_next_command(server: Server, tmp_path: Path) -> None:
    server.script = ["cut", "500", "500", "500"]
    with pytest.raises(FetchError, match="could not be downloaded: the server answered 500; try again later"):
        get(server, tmp_path)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={len(CONTENT) // 2}-"


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / SHA256).mkdir()
    (tmp_path / SHA256 / "a-1-0.conda.part").write_bytes(CONTENT + b"more")
    server.script = ["416"]
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_wrong_bytes_never_get_the_name(server: Server, tmp_path: Path) -> None:
    server.script = ["lie"]
    with pytest.raises(FetchError, match=f"the lock says {SHA256}"):
        get(server, tmp_path)
    assert list((tmp_path / SHA256).iterdir()) == []


def test_what_is_gone_is_not_tried_again(server: Server, tmp_path: Path) -> None:
    server.script = ["404"]
    with pytest.raises(FetchError, match="answered 404; the package is gone"):
        get(server, tmp_path)
    assert len(server.ranges) == 1


def test_nobody_answers(server: Server, tmp_path: Path) -> None:
    with socket.socket() as taken:  # and not listened at: nobody else can answer there
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}/noarch/a-1-0.conda"
        with pytest.raises(FetchError, match=f"^http://{place} could not be downloaded"):
            fetch([package(f"http://u:secret@{place}")], tmp_path, Silent(), Settings(home=tmp_path))


def test_a_file_of_this_machine_is_verified_too(tmp_path: Path) -> None:
    source = tmp_path / "a b-1-0.conda"
    source.write_bytes(CONTENT)
    store = tmp_path / "store"
    url = f"file://{tmp_path}/a%20b-1-0.conda"
    assert fetch([package(url)], store, Silent(), Settings(home=store))[SHA256].read_bytes() == CONTENT
    with pytest.raises(FetchError, match="the lock says 0000"):
        fetch([package(url, "0" * 64)], store, Silent(), Settings(home=store))
    with pytest.raises(FetchError, match="does not exist any more"):
        fetch([package(f"file://{tmp_path}/gone-1-0.conda", "1" * 64)], store, Silent(), Settings(home=store))


def test_a_length_that_is_no_number_is_passed_over(server: Server, tmp_path: Path) -> None:
    server.script = ["strange-length"]
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_redirect_gets_nothing_that_netrc_has_for_the_other_host(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine localhost login ann password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.script = ["redirect"]
    get(server, tmp_path)
    assert server.authorizations == [None, None]


def test_a_redirect_to_what_is_no_address_is_one_sentence(server: Server, tmp_path: Path) -> None:
    server.script = ["redirect-nowhere"] * 4
    with pytest.raises(FetchError, match="could not be downloaded"):
        get(server, tmp_path)


def test_a_file_of_this_machine_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a-1-0.conda"
    file.write_bytes(CONTENT)
    whole: Callable[..., Any] = Path.open

    def refuse(path: Path, *how: str) -> Any:
        if path == file:
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *how)

    monkeypatch.setattr(Path, "open", refuse)  # root, who may run the tests, is refused nothing
    with pytest.raises(FetchError, match=f"{file} cannot be read: Permission denied"):
        fetch([package(file.as_uri())], tmp_path / "packages", Silent(), Settings(home=tmp_path))


def test_a_server_that_never_ends_fills_no_disk(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_MOST", 8 << 20)
    url = f"http://127.0.0.1:{server.server_port}/noarch/endless-1-0.conda"
    with pytest.raises(FetchError, match="sends more than 8.4 MB, which no package has; refused"):
        fetch([package(url)], tmp_path, Silent(), Settings(home=tmp_path))
    assert list((tmp_path / SHA256).iterdir()) == []


def test_what_is_given_up_ends_at_once_and_leaves_its_part(server: Server, tmp_path: Path) -> None:
    """One package is not there; the other would take until the end of the world."""
    url = f"http://127.0.0.1:{server.server_port}/noarch"
    wanted = [package(f"{url}/gone-1-0.conda"), package(f"{url}/endless-1-0.conda", "1" * 64)]
    with pytest.raises(FetchError, match="answered 404"):
        fetch(wanted, tmp_path, Silent(), Settings(home=tmp_path))
    assert (tmp_path / ("1" * 64) / "endless-1-0.conda.part").is_file()


def test_what_is_given_up_does_not_wait_for_another_process(server: Server, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.server_port}/noarch"
    server.arrived.set()
    wanted = [package(f"{url}/gone-1-0.conda"), package(f"{url}/b-1-0.conda", "1" * 64)]
    with atomic.key_lock(tmp_path, "1" * 64), pytest.raises(FetchError, match="answered 404"):
        fetch(wanted, tmp_path, Silent(), Settings(home=tmp_path))
