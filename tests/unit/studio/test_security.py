"""Only our own page changes anything, and only under a host that is ours."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from envbuild.studio.security import Door
from envbuild.trainer.run import RunRecord, load_folder

OURS = "http://127.0.0.1:8765"
DOOR = Door("127.0.0.1", 8765)


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765"])
def test_the_loopback_names_are_ours(host: str) -> None:
    assert DOOR.knows(host)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8765", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8765.evil.example",
     "localhost.evil.example:8765", "127.0.0.1:8765@evil.example", "[::1]", "192.168.1.5:8765"],
)  # fmt: skip
def test_any_other_host_is_not(host: str) -> None:
    assert not DOOR.knows(host)


def test_bound_to_every_address_a_literal_address_is_ours_but_a_name_is_not() -> None:
    door = Door("0.0.0.0", 8765)
    assert door.knows("192.168.1.5:8765")
    assert not door.knows("evil.example:8765")


@pytest.mark.parametrize(("bound", "host"), [("fd00::1", "[fd00::1]:8765"), ("Big-Machine", "big-machine:8765")])
def test_the_address_that_it_is_bound_to_is_ours_as_browsers_write_it(bound: str, host: str) -> None:
    assert Door(bound, 8765).knows(host)


def test_a_foreign_host_gets_nothing(client: TestClient) -> None:
    answer = client.get("/runs", headers={"host": "evil.example:8765"})
    assert (answer.status_code, "127.0.0.1:8765" in answer.text) == (403, True)


def test_another_site_may_link_to_a_page_but_not_load_it(client: TestClient) -> None:
    loads = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    links = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/runs", headers=loads).status_code == 403
    assert client.get("/runs", headers=links).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:8765"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": OURS, "sec-fetch-site": "cross-site"},
        {"origin": OURS, "sec-fetch-site": "same-site"},
    ],
)
def test_a_change_from_elsewhere_is_refused(
    client: TestClient, run: RunRecord, page: str, token: Callable[[str], str], headers: dict[str, str]
) -> None:
    form = {"csrf": token(page), "name": "a", "value": "b"}
    assert client.post(page + "/tags", data=form, headers=headers).status_code == 403
    assert not load_folder(run.folder).tags


@pytest.mark.parametrize("forged", ["", "0" * 64, "wrong"])
def test_a_change_without_the_page_s_token_is_refused(client: TestClient, run: RunRecord, forged: str) -> None:
    form = {"csrf": forged, "run": f"{run.experiment}/{run.run_id}"}
    assert client.post("/runs/delete", data=form, headers={"origin": OURS}).status_code == 403
    assert run.folder.is_dir()


def test_a_token_is_of_one_session_and_one_process() -> None:
    assert DOOR.token("one") != DOOR.token("other")
    assert DOOR.token("one") != Door("127.0.0.1", 8765).token("one")


def test_a_large_form_is_refused(client: TestClient, run: RunRecord, page: str) -> None:
    answer = client.post(page + "/tags", content=b"a" * (2 << 20), headers={"origin": OURS})
    assert answer.status_code == 413


def test_a_reader_who_goes_in_the_middle_of_a_form_is_no_error(client: TestClient, page: str) -> None:
    told = iter([{"type": "http.request", "body": b"name=a", "more_body": True}, {"type": "http.disconnect"}])
    scope = {
        "type": "http", "method": "POST", "path": page + "/tags", "raw_path": b"", "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8765"), (b"origin", OURS.encode())],
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return next(told)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 400


def test_the_session_s_cookie_is_for_our_page_alone(client: TestClient) -> None:
    cookie = client.get("/runs").headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "envbuild_studio_8765" in cookie


@pytest.mark.parametrize("place", ["/runs", "/environments", "/builds", "/nothing", "/compare"])
def test_every_page_runs_only_our_scripts(client: TestClient, place: str) -> None:
    answer = client.get(place)
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy and "default-src 'none'" in policy and "unsafe-eval" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in answer.text and " onclick" not in answer.text
