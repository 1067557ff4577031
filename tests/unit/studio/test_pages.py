"""What the pages show and change; names that scripts invent change nothing but text."""

import json
import os
import platform
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from envbuild.studio.render import duration, moment
from envbuild.trainer.metrics.protobuf import bytes_field
from envbuild.trainer.metrics.tfrecord import framed
from envbuild.trainer.run import RunRecord, load_folder, update_run
from envbuild.trainer.supervision import process_start

OURS = {"origin": "http://127.0.0.1:8765"}
HOSTILE = "<script>alert(1)</script>\n\"'&{{7*7}} ../\N{RIGHT-TO-LEFT OVERRIDE}"


def log(run: RunRecord, name: str, values: list[float]) -> None:
    lines = [{"k": name, "v": value, "s": step, "t": 1000.0 + step} for step, value in enumerate(values)]
    run.metrics_file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


def say(run: RunRecord, child: str, kind: str, value: object, t: float = 1000.0, **more: object) -> None:
    """What a script says of its child run `child`."""
    record = {"k": kind, "kind": kind, "v": value, "run": child, "t": t, **more}
    with run.metrics_file.open("a") as file:
        file.write(json.dumps(record, separators=(",", ":")) + "\n")


def test_the_front_page_is_the_list_of_runs(client: TestClient) -> None:
    assert client.get("/").url.path == "/runs"


def test_no_run_yet_says_how_to_start(client: TestClient) -> None:
    assert "envbuild run src/ train.py" in client.get("/runs").text


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("experiment=letters", ["b"]),
        ("state=Failed", ["c"]),
        ("tag=model", ["a", "c"]),
        ("tag=model%3Dlarge", ["c"]),
        ("q=--depth", ["b"]),
        ("q=TRAIN", ["a", "b", "c"]),
        ("experiment=letters&state=Failed", []),
    ],
)
def test_the_list_is_filtered(
    client: TestClient, new_run: Callable[..., RunRecord], query: str, shown: list[str]
) -> None:
    runs = {
        "a": new_run(tags={"model": "small"}),
        "b": new_run("letters", arguments=["--depth", "3"]),
        "c": new_run(state="Failed", tags={"model": "large"}),
    }
    page = client.get(f"/runs?{query}").text
    assert [name for name, run in runs.items() if run.run_id in page] == shown


def test_a_long_list_comes_in_pages(client: TestClient, new_run: Callable[..., RunRecord]) -> None:
    runs = [new_run() for _ in range(101)]
    oldest = min(runs, key=lambda run: run.run_id).run_id
    assert oldest not in client.get("/runs").text
    assert oldest in client.get("/runs?page=2").text
    assert oldest in client.get("/runs?page=99999").text


@pytest.mark.parametrize("page", ["", "/logs", "/outputs", "/snapshot", "/record"])
def test_hostile_names_are_text(client: TestClient, new_run: Callable[..., RunRecord], page: str) -> None:
    run = new_run(
        script=HOSTILE, arguments=[HOSTILE], tags={HOSTILE: HOSTILE}, parameters={HOSTILE: HOSTILE}, error=HOSTILE,
        state="Failed",
    )  # fmt: skip
    say(run, HOSTILE, "child", {"name": HOSTILE})
    run.driver_log.write_text(HOSTILE)
    (run.folder / "images" / "<script>alert(1)<>.png").touch()
    for address in (f"/runs/{run.experiment}/{run.run_id}{page}", "/runs"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text and "49" not in answer.text.split("{{7*7}}")[0][-3:]


@pytest.mark.parametrize(
    "address", ["/runs/%2e%2e/x", "/runs/digits/%2e%2e", "/runs/digits/.index", "/runs/a%2Fb/c", "/runs/x/y"]
)
def test_no_address_leads_out_of_the_runs(client: TestClient, run: RunRecord, address: str) -> None:
    assert client.get(address).status_code == 404


@pytest.mark.parametrize("name", ["run.json", "../x_log.txt", "..%2F..%2Fx_log.txt", "/etc/passwd"])
def test_only_logs_are_read_as_logs(client: TestClient, run: RunRecord, page: str, name: str) -> None:
    (run.folder.parent / "x_log.txt").write_text("outside")
    for place in ("/logs", "/logs/window", "/logs/file"):
        assert client.get(f"{page}{place}?file={name}").status_code == 404


def test_a_log_that_is_a_link_is_not_read(client: TestClient, run: RunRecord, page: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (run.folder / "worker_log.txt").symlink_to(tmp_path / "secret")
    answer = client.get(f"{page}/logs?file=worker_log.txt")
    assert (answer.status_code, "secret" in answer.text) == (404, False)


def test_the_buttons_of_a_log_can_be_pressed_only_once_the_script_hears_them(client: TestClient, page: str) -> None:
    shown = client.get(f"{page}/logs").text
    assert shown.count(" data-go=") == shown.count('<button type="button" data-go=') == 4
    assert all(f'data-go="{where}" disabled>' in shown for where in ("start", "before", "after", "end"))


def test_a_log_is_read_in_windows(client: TestClient, run: RunRecord, page: str) -> None:
    run.driver_log.write_bytes(b"".join(b"line %07d\n" % number for number in range(100_000)))
    end = client.get(f"{page}/logs/window").json()
    before = client.get(f"{page}/logs/window?before={end['start']}").json()
    assert (end["end"], before["end"]) == (1_300_000, end["start"])
    assert before["text"].splitlines()[-1] == f"line {end['start'] // 13 - 1:07}"
    assert client.get(f"{page}/logs/window?before=x").status_code == 400


def test_the_metrics_are_thinned_and_keep_their_extremes(client: TestClient, run: RunRecord, page: str) -> None:
    log(run, "loss", [0.0] * 5_000 + [99.0] + [0.0] * 5_000)
    curve = client.get(f"{page}/metrics").json()["curves"][0]
    assert (curve["name"], curve["count"], max(curve["values"])) == ("loss", 10_001, 99.0)
    assert len(curve["steps"]) <= 2_000


def test_what_is_no_number_is_null_in_a_chart(client: TestClient, run: RunRecord, page: str) -> None:
    run.metrics_file.write_text('{"k":"loss","v":"NaN","s":0,"t":1.0}\n')
    assert client.get(f"{page}/metrics").json()["curves"][0]["values"] == [None]


def test_a_tag_is_set_and_removed(client: TestClient, run: RunRecord, page: str, token: Callable[[str], str]) -> None:
    form = {"csrf": token(page), "name": HOSTILE, "value": "x"}
    assert client.post(f"{page}/tags", data=form, headers=OURS).status_code == 200
    assert load_folder(run.folder).tags == {HOSTILE: "x"}
    client.post(f"{page}/tags", data={**form, "remove": "1"}, headers=OURS)
    assert load_folder(run.folder).tags == {}


def test_runs_are_deleted_after_a_question(
    client: TestClient, new_run: Callable[..., RunRecord], token: Callable[[str], str]
) -> None:
    gone, kept = new_run(), new_run()
    question = f"/runs/delete?run=digits/{gone.run_id}"
    assert gone.run_id in client.get(question).text and gone.folder.is_dir()
    form = {"csrf": token(question), "run": f"digits/{gone.run_id}"}
    assert client.post("/runs/delete", data=form, headers=OURS).url.path == "/runs"
    assert (gone.folder.exists(), kept.folder.exists()) == (False, True)


def test_an_active_run_is_not_deleted_nor_its_companions(
    client: TestClient, new_run: Callable[..., RunRecord], token: Callable[[str], str]
) -> None:
    ended, active = new_run(), new_run()
    update_run(active, state="Running", process={"pid": os.getpid(), "start": process_start(os.getpid())})
    form = {"csrf": token(f"/runs/delete?run=digits/{ended.run_id}")}
    both = [f"digits/{ended.run_id}", f"digits/{active.run_id}"]
    answer = client.post("/runs/delete", data={**form, "run": both}, headers=OURS)
    assert (answer.status_code, "cancel it before you delete it" in answer.text) == (400, True)
    assert ended.folder.exists() and active.folder.exists()


@pytest.fixture
def supervisor() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that a signal ends."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_a_run_is_canceled_after_a_question(
    client: TestClient, new_run: Callable[..., RunRecord], token: Callable[[str], str],
    supervisor: "subprocess.Popen[bytes]",
) -> None:  # fmt: skip
    process = {"pid": supervisor.pid, "start": process_start(supervisor.pid)}
    run = new_run(state="Running", process=process, host=platform.node())
    page = f"/runs/digits/{run.run_id}"
    assert "Let it run" in client.get(f"{page}/cancel").text and supervisor.poll() is None
    answer = client.post(f"{page}/cancel", data={"csrf": token(f"{page}/cancel")}, headers=OURS)
    assert answer.url.path == page
    assert supervisor.wait(60) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({}, OURS),
        ({"csrf": "0" * 64}, OURS),
        ({"csrf": "right"}, {"origin": "http://elsewhere.example"}),
        ({"csrf": "right"}, {**OURS, "sec-fetch-site": "cross-site"}),
    ],
)
def test_a_forged_request_cancels_nothing(
    client: TestClient, new_run: Callable[..., RunRecord], token: Callable[[str], str],
    supervisor: "subprocess.Popen[bytes]", form: dict[str, str], headers: dict[str, str],
) -> None:  # fmt: skip
    process = {"pid": supervisor.pid, "start": process_start(supervisor.pid)}
    run = new_run(state="Running", process=process, host=platform.node())
    place = f"/runs/digits/{run.run_id}/cancel"
    form = {"csrf": token(place)} if form.get("csrf") == "right" else form
    assert client.post(place, data=form, headers=headers).status_code == 403
    assert supervisor.poll() is None and not (run.folder / "cancel.json").exists()


def test_an_ended_run_and_one_of_another_machine_are_not_canceled(
    client: TestClient, new_run: Callable[..., RunRecord], token: Callable[[str], str]
) -> None:
    ended, away = new_run(), new_run(state="Running", host="another-machine")
    for run, said in ((ended, "ended already"), (away, "on another-machine")):
        place = f"/runs/digits/{run.run_id}/cancel"
        question = client.get(place).text
        assert said in question and "Cancel the run" not in question
        answer = client.post(place, data={"csrf": token(place)}, headers=OURS)
        assert (answer.status_code, said in answer.text) == (400, True)


def test_a_child_run_has_pages_of_its_own(client: TestClient, run: RunRecord, page: str) -> None:
    run.driver_log.write_text("before\ninside\nafter\n")
    say(run, "R.1", "child", {"name": "fold 1", "files": "children/R.1"}, log=7)
    say(run, "deep", "child", {"name": "inner", "parent": "R.1"})
    say(run, "R.1", "status", "Failed", t=1002.5, log=14, error="no data")
    say(run, "R.1", "tags", {"best": "no"})
    with run.metrics_file.open("a") as file:
        for value, child in ((1.0, "R.1"), (2.0, "deep")):
            file.write(json.dumps({"k": "loss", "v": value, "s": 0, "t": 1.0, "run": child}) + "\n")
    (run.folder / "children/R.1").mkdir(parents=True)
    (run.folder / "children/R.1/model.bin").write_text("weights")
    parent = client.get(page).text
    assert f'href="{page}/child?id=R.1"' in parent and "fold 1 / " in parent and "2.5 s" in parent
    child = client.get(f"{page}/child?id=R.1").text
    assert all(text in child for text in ("Failed", "no data", f'<a href="{page}">', "best", "inner"))
    assert "fold 1</a> in " in client.get(f"{page}/child?id=deep").text
    curves = client.get(f"{page}/child/metrics?id=R.1").json()["curves"]
    assert [(curve["name"], curve["values"], curve["run"]) for curve in curves] == [("loss", [1.0], "")]
    log = client.get(f"{page}/child/logs?id=R.1").text
    assert "inside" in log and "before\n" not in log and "after\n" not in log
    assert "model.bin" in client.get(f"{page}/child/outputs?id=R.1").text
    assert "weights" in client.get(f"{page}/child/outputs?id=R.1&file=model.bin").text
    assert client.get(f"{page}/child/output?id=R.1&file=model.bin").content == b"weights"
    assert "Where in the log this child wrote is not known" in client.get(f"{page}/child/logs?id=deep").text
    assert client.get(f"{page}/child?id=nobody").status_code == 404


def test_a_time_that_no_calendar_has_is_not_shown() -> None:
    assert [moment(seconds) for seconds in (0.0, 1e18, -1e18, float("nan"))] == ["1970-01-01T00:00:00Z", "", "", ""]


def test_a_place_in_the_log_that_no_file_has_spoils_no_page(client: TestClient, run: RunRecord, page: str) -> None:
    say(run, "c", "child", {"name": "fold", "parent": ""}, log=(1 << 64) - 1)
    assert client.get(f"{page}/child/logs?id=c").status_code == 200


def test_names_that_are_no_utf_8_spoil_no_page(client: TestClient, new_run: Callable[..., RunRecord]) -> None:
    name = os.fsdecode(b"fold \xff")
    run = new_run(arguments=[name], tags={name: name})
    page = f"/runs/{run.experiment}/{run.run_id}"
    points = b"".join(bytes_field(1, bytes_field(1, b"loss") + b"\x15\x00\x00\xc0\x3f") for _ in range(1))
    pictures = bytes_field(1, image_value("digits", b"GIF8"))
    (run.outputs / name).mkdir()
    (run.outputs / name / "events.out.tfevents.1").write_bytes(framed(bytes_field(5, points + pictures)))
    mlflow = run.folder / "mlflow/mlruns/0"
    for each in ("a", name):
        (mlflow / each / "metrics").mkdir(parents=True)
        (mlflow / each / "meta.yaml").write_text("start_time: 1000\n")
        (mlflow / each / "metrics" / name).write_text("1000 2.5 3\n")
    for place in ("/runs", page, f"{page}/record", f"{page}/outputs"):
        assert "fold \N{REPLACEMENT CHARACTER}" in client.get(place).text
    found = client.get(f"{page}/metrics").json()
    assert sorted(curve["values"][0] for curve in found["curves"]) == [1.5, 2.5, 2.5]
    folder = found["stored"][0]["run"]
    assert len(client.get(f"{page}/pictures", params={"name": "digits", "run": folder}).json()) == 1
    events = client.get(f"{page}/events", params={"since": json.dumps(found["cursor"])}).text
    assert "event: metrics" not in events  # the cursor knows these files when it comes back


def test_pictures_in_event_files_are_served_and_nothing_else_of_them(
    client: TestClient, run: RunRecord, page: str
) -> None:
    png = b"\x89PNG\r\n\x1a\n"
    values = [image_value("digits", png), image_value("evil", b"<svg><script>alert(1)</script></svg>")]
    record = framed(bytes_field(5, b"".join(bytes_field(1, value) for value in values)))
    (run.outputs / "events.out.tfevents.1").write_bytes(record)
    (run.outputs / "other.bin").write_bytes(record)
    (picture,) = client.get(f"{page}/pictures?name=digits&run=").json()
    (place,) = picture["addresses"]
    answer = client.get(place)
    assert (answer.content, answer.headers["content-type"]) == (png, "image/png")
    assert "sandbox" in answer.headers["content-security-policy"]
    ((evil,),) = (each["addresses"] for each in client.get(f"{page}/pictures?name=evil&run=").json())
    other = place.replace("events.out.tfevents.1", "other.bin")
    for refused in (evil, other, place.replace("number=0", "number=1"), place.replace("position=0", "position=1")):
        assert client.get(refused).status_code == 404
    assert client.get(place.replace("position=0", "position=-1")).status_code == 400
    assert client.get(f"{page}/histograms?name=digits&run=").json()["steps"] == []


def image_value(tag: str, data: bytes) -> bytes:
    """A value of a summary that holds a picture."""
    return bytes_field(1, tag.encode()) + bytes_field(4, bytes_field(4, data))


def test_what_of_an_event_file_cannot_be_read_is_said(client: TestClient, new_run: Callable[..., RunRecord]) -> None:
    process = {"pid": os.getpid(), "start": process_start(os.getpid())}
    for state, said in (("Running", False), ("Completed", True)):
        run = new_run(state=state, process=process)
        (run.outputs / "events.out.tfevents.1").write_bytes(framed(b"")[:-1])
        problems = client.get(f"/runs/digits/{run.run_id}/metrics").json()["problems"]
        assert bool(problems) == said  # a writer that is still writing has no problem
    assert problems == [
        "outputs/events.out.tfevents.1: the record at byte 0 should have 0 bytes, and the file ends 15 bytes later"
    ]


@pytest.mark.parametrize("files", ["children/link", "children/../outputs", "..", "", "children/inner", "images"])
def test_a_child_run_has_no_file_but_its_own(client: TestClient, run: RunRecord, page: str, files: str) -> None:
    (run.folder / "children/inner").mkdir(parents=True)
    (run.folder / "children/link").symlink_to(run.folder.parent)
    (run.folder / "children/inner/link").symlink_to(run.folder / "run.json")
    (run.outputs / "own.txt").touch()
    say(run, "c", "child", {"name": "c", "files": files})
    assert "has uploaded nothing" in client.get(f"{page}/child/outputs?id=c").text
    for name in ("link", "own.txt", "run.json", "../run.json", f"{run.run_id}/run.json"):
        assert client.get(f"{page}/child/output?id=c&file={name}").status_code == 404


@pytest.mark.parametrize("reference", ["../../x", "digits/..", "digits", ""])
def test_only_runs_can_be_deleted(
    client: TestClient, run: RunRecord, token: Callable[[str], str], page: str, reference: str
) -> None:
    answer = client.post("/runs/delete", data={"csrf": token(page), "run": reference}, headers=OURS)
    assert answer.status_code == 404
    assert run.folder.exists()


def test_curves_are_compared(client: TestClient, new_run: Callable[..., RunRecord]) -> None:
    one, other = new_run(parameters={"lr": 0.1}), new_run(parameters={"lr": 0.2})
    log(one, "loss", [3.0, 2.0, 1.0])
    log(other, "loss", [4.0, 4.0, 4.0])
    query = f"run=digits/{one.run_id}&run=digits/{other.run_id}"
    assert "lr" in client.get(f"/compare?{query}").text
    curves = client.get(f"/compare/series?{query}&metric=loss&axis=relative").json()["curves"]
    assert curves[0] == {
        "run": f"digits/{one.run_id}", "x": [0.0, 1.0, 2.0], "y": [3.0, 2.0, 1.0], "count": 3,
        "last": 1.0, "min": 1.0, "max": 3.0,
    }  # fmt: skip
    smoothed = client.get(f"/compare/series?{query}&metric=loss&smoothing=0.5").json()["curves"][0]
    assert smoothed["y"] == pytest.approx([3.0, 7 / 3, 11 / 7])
    assert smoothed["last"] == 1.0


@pytest.mark.parametrize("wrong", ["smoothing=1", "smoothing=x", "smoothing=nan", "axis=../x"])
def test_a_wrong_wish_for_curves_is_a_sentence(client: TestClient, run: RunRecord, wrong: str) -> None:
    answer = client.get(f"/compare/series?metric=loss&{wrong}")
    assert (answer.status_code, 'role="alert"' in answer.text) == (400, True)


def test_the_shelf_reads_what_grew(client: TestClient, run: RunRecord) -> None:
    log(run, "loss", [3.0])
    assert client.get("/compare/series?metric=loss").json()["curves"][0]["count"] == 1
    with run.metrics_file.open("a") as file:
        file.write('{"k":"loss","v":2.0,"s":1,"t":1001.0}\n')
    assert client.get("/compare/series?metric=loss").json()["curves"][0]["y"] == [3.0, 2.0]


def test_a_finished_run_s_events_end(client: TestClient, run: RunRecord, page: str) -> None:
    run.driver_log.write_text("first\n")
    log(run, "loss", [3.0])
    events = client.get(f"{page}/events?since=%7B%7D&file=70_driver_log.txt&after=0").text
    assert 'event: log\ndata: {"start":0,"end":6,"size":6,"text":"first\\n","partial":""}' in events
    assert 'event: metrics\ndata: {"cursor":{"metrics.jsonl"' in events
    assert events.endswith("event: end\ndata: null\n\n")


@pytest.mark.parametrize("cursor", ["x", "[]", "%7B%22a%22:%22b%22%7D"])
def test_a_wrong_cursor_is_a_sentence(client: TestClient, page: str, cursor: str) -> None:
    assert client.get(f"{page}/events?since={cursor}").status_code == 400


def test_scripts_and_styles_may_be_kept_by_the_browser(client: TestClient) -> None:
    page = client.get("/runs").text
    style = page.split('rel="stylesheet" href="')[1].split('"')[0]
    assert "immutable" in client.get(style).headers["cache-control"]
    assert client.get(style.replace("studio.css", "../app.py")).status_code == 404


def test_the_chart_library_comes_out_of_its_package(client: TestClient, run: RunRecord, page: str) -> None:
    script = client.get(page).text.split('<script defer src="')[1].split('"')[0]
    answer = client.get(script)
    assert "plotly.js" in answer.text[:200] and answer.headers["content-type"].startswith("text/javascript")


def test_paths_in_the_reader_s_home_folder_are_short(
    client: TestClient, tmp_path: Path, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert f'<span class="path">~/{tmp_path.name}</span>' in client.get("/runs").text
    assert f"~/{tmp_path.name}{page}/run.json" in client.get(f"{page}/record").text
    monkeypatch.setenv("HOME", f"{tmp_path}/elsewhere")
    assert f'<span class="path">{tmp_path}</span>' in client.get("/runs").text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.035, "35 ms"), (4.25, "4.2 s"), (42, "42 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")],
)
def test_a_duration_is_told_as_people_do(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
