"""A run's files are served from its folder alone, and cannot act in our origin."""

import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from envbuild.errors import NotFound
from envbuild.studio.files import file_response, list_files, open_file
from envbuild.trainer.run import RunRecord


@pytest.mark.parametrize(
    "path",
    ["../run.json", "..%2Frun.json", "%252e%252e/run.json", "../../../../../../etc/passwd", "/etc/passwd",
     "%252Fetc%252Fpasswd", "a/../../run.json", "./a", "%2500", "a%2500.png", "", "folder"],
)  # fmt: skip
def test_no_path_leads_out(client: TestClient, run: RunRecord, page: str, path: str) -> None:
    (run.outputs / "folder").mkdir()
    answer = client.get(f"{page}/output?file={path}")
    assert answer.status_code == 404
    assert "root:" not in answer.text and '"run_id"' not in answer.text


def test_no_link_is_followed(client: TestClient, run: RunRecord, page: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (run.outputs / "link.txt").symlink_to(tmp_path / "secret")
    (run.outputs / "up").symlink_to("..")
    for path in ("link.txt", "up/run.json"):
        assert client.get(f"{page}/output?file={path}").status_code == 404
        assert client.get(f"{page}/outputs?file={path}").status_code == 404
    assert list_files(run.outputs) == ([], False)


def test_a_pipe_does_not_hang_a_reader(run: RunRecord) -> None:
    os.mkfifo(run.outputs / "pipe")
    with pytest.raises(NotFound, match="is no file"):
        open_file(run.outputs, "pipe")


@pytest.mark.parametrize("name", ["page.html", "page.xhtml", "script.js", "drawing.xml", "model.pt"])
def test_what_a_browser_would_run_is_saved_instead(client: TestClient, run: RunRecord, page: str, name: str) -> None:
    (run.outputs / name).write_text("<script>alert(1)</script>")
    answer = client.get(f"{page}/output?file={name}")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]


def test_an_svg_image_is_in_a_sandbox(client: TestClient, run: RunRecord, page: str) -> None:
    (run.outputs / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    answer = client.get(page + "/output?file=drawing.svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "script-src" not in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].endswith("sandbox")


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", 'quote".txt', "new\nline.txt", "ünïcödé 日本.txt", "percent%2e.txt", "a?b#c.txt"],
)
def test_a_hostile_name_is_shown_escaped_and_served(client: TestClient, run: RunRecord, page: str, name: str) -> None:
    (run.outputs / name.replace("/", "_")).write_text("content")
    listing = client.get(page + "/outputs").text
    assert "<script>alert" not in listing
    link = listing.split('download aria-label="Save')[0].rsplit('href="', 1)[1].split('"')[0]
    answer = client.get(link)
    assert (answer.status_code, answer.text) == (200, "content")
    assert "\n" not in answer.headers["content-disposition"]


def test_a_name_that_is_no_utf_8_is_served_byte_for_byte(client: TestClient, run: RunRecord, page: str) -> None:
    (run.outputs / os.fsdecode(b"\xff\xfe.bin")).write_bytes(b"content")
    assert client.get(page + "/outputs").status_code == 200
    assert client.get(page + "/output?file=%25FF%25FE.bin").content == b"content"
    assert "content" in client.get(page + "/outputs?file=%25FF%25FE.bin").text


def test_a_part_of_a_file_can_be_asked_for(client: TestClient, run: RunRecord, page: str) -> None:
    (run.outputs / "numbers.bin").write_bytes(bytes(range(100)))
    answer = client.get(page + "/output?file=numbers.bin", headers={"range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, bytes(range(10, 20)))


def test_a_log_that_grows_while_it_is_sent_is_sent_as_long_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("before")
    answer = file_response(tmp_path, "log.txt")
    (tmp_path / "log.txt").write_text("before and after")
    sent = TestClient(answer).get("/")
    assert (sent.headers["content-length"], sent.content) == ("6", b"before")


def test_serving_leaves_no_descriptor_open(client: TestClient, run: RunRecord, page: str) -> None:
    (run.outputs / "a.png").write_bytes(b"image")
    client.get(page + "/output?file=a.png")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        client.get(page + "/output?file=a.png")
    assert len(os.listdir("/proc/self/fd")) <= before
