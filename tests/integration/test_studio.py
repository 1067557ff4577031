"""The studio in a real browser: what moves while a job trains, what a hostile job can do, and who can use the page."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from browser import WAIT, chromium, studio
from harness import PATIENCE, Project, need

from envbuild.trainer.compose import CANCEL_FILE
from envbuild.trainer.run import RunRecord, create_run, load_folder, load_run, update_run
from envbuild.trainer.supervision import process_start

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TRAINING = 10 * WAIT
"""What a real training may take on a machine that does much else; only keeps a broken test from hanging."""
TRAIN = """\
import pathlib, time
from envbuild import Run

run = Run.get_context()
for step in range(1000):
    run.log("loss", 1.0 / (step + 1))
    print("step", step, flush=True)
    if pathlib.Path("/envbuild/run/outputs/stop").exists():
        break
    time.sleep(0.1)
"""
STUBBORN = """\
import pathlib, signal, sys, time

def stop(*_):
    while not pathlib.Path("/envbuild/run/outputs/now").exists():
        time.sleep(0.05)
    sys.exit(1)

signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(600)
"""
HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script> ../ \N{RIGHT-TO-LEFT OVERRIDE}\n'\""


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """A page of a new profile; whatever goes wrong in its scripts fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(WAIT)
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    yield opened
    context.close()
    assert wrong == []


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def new_run(home: Path) -> Callable[..., RunRecord]:
    """Makes runs as a job would have left them."""

    def make(values: list[float] | None = None, state: str = "Completed", **document: Any) -> RunRecord:
        described = {
            "script": "train.py",
            "arguments": ["--lr", "0.1"],
            "environment": {"name": "small", "version": 1, "image_digest": "sha256:" + "a" * 64},
            "process": {"pid": os.getpid(), "start": process_start(os.getpid())},
        }
        run = create_run(home, "digits", {**described, **document})
        log(run, "loss", values or [3.0, 2.0, 1.0])
        return update_run(run, state=state)

    return make


def log(run: RunRecord, name: str, values: list[float], begin: int = 0) -> None:
    with run.metrics_file.open("a") as file:
        for step, value in enumerate(values, begin):
            record = {"k": name, "v": value, "s": step, "t": 1000.0 + step}
            file.write(json.dumps(record, separators=(",", ":")) + "\n")


def use(run: RunRecord, *samples: tuple[float, float]) -> None:
    """Resource use as the supervisor writes it: (seconds, processor seconds); the rest follows the time."""
    with run.resources_file.open("a") as file:
        for time_, cpu in samples:
            gpu = {"index": 0, "utilization": int(time_ * 10), "memory": 10**9}
            record = {"t": time_, "cpu_seconds": cpu, "memory": int(time_ * 10**9), "processes": 1, "gpus": [gpu]}
            file.write(json.dumps(record) + "\n")


def address(url: str, run: RunRecord, rest: str = "") -> str:
    return f"{url}/runs/{run.experiment}/{run.run_id}{rest}"


def drawn(page: "Page", metric: str) -> int:
    """Points of the chart of `metric` that are drawn now."""
    count = page.evaluate(
        'name => document.querySelector(`[data-metric="${name}"] .plot`)?.data?.[0]?.y?.length ?? 0', metric
    )
    return int(count)


def wait_for(page: "Page", condition: str, wait: int = WAIT) -> None:
    """Wait until `condition` holds; asked from here, as the page's own policy forbids to evaluate texts."""
    deadline = time.monotonic() + wait / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def check_accessible(page: "Page") -> None:
    """No finding of axe-core: the rules of WCAG 2.2 AA that a program can check, and its best practices."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]})
    assert found.violations_count == 0, f"{page.url}\n{found.generate_report()}"


def test_a_loss_curve_and_the_log_grow_while_a_job_trains(project: Project, page: "Page") -> None:
    project.json("register", "environment.yml")
    project.write("src/train.py", TRAIN)
    with studio(project.home) as url:
        job = subprocess.Popen(
            [sys.executable, "-m", "envbuild", "run", "src", "train.py"],
            cwd=project.folder,
            env={**os.environ, "ENVBUILD_HOME": str(project.home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert job.stderr
        printed = next(line for line in job.stderr if url in line)  # `run` prints the run's page
        page.goto(printed[printed.index(url) :].strip())
        wait_for(page, "document.querySelector('[data-metric=loss] .plot')?.data?.[0]?.y?.length > 2")
        before = drawn(page, "loss")
        wait_for(page, f"document.querySelector('[data-metric=loss] .plot').data[0].y.length > {before + 5}")
        page.locator("#state").get_by_text("Running").wait_for()
        page.get_by_role("link", name="Logs").click()
        page.wait_for_selector("pre")
        shown = len(page.locator(".log pre").inner_text())
        wait_for(page, f"document.querySelector('.log pre').textContent.length > {shown}")
        folder = next((project.home / "runs").glob("*/*/run.json")).parent
        (folder / "outputs/stop").touch()
        page.get_by_text("Completed").wait_for()  # the state changes without a reload
        assert job.wait(PATIENCE) == 0


@pytest.mark.slow
def test_the_example_s_loss_curve_falls_on_the_page_while_it_trains(
    project: Project, example_channel: Path, page: "Page"
) -> None:
    example = Path(__file__).resolve().parents[2] / "examples" / "cifar10"
    shutil.copytree(example / "src", project.folder / "src")
    shutil.copy(example / "pytorch-env.yml", project.folder)
    uri = example_channel.as_uri()
    project.write(
        "envbuild.toml",
        f'[channels]\ndefaults = "{uri}"\npytorch = "{uri}"\n[virtual-packages]\nlinux-64 = {{ __glibc = "2.36" }}\n',
    )
    subprocess.run([sys.executable, example / "make_data.py", project.folder / "data"], check=True, capture_output=True)
    project.json("register", "pytorch-env.yml")
    line = ("run", "--detach", "--mount", "data=data", "src", "train.py", "--data", "{data}", "--log-every", "20")
    with studio(project.home) as url:
        assert project.envbuild(*line).returncode == 0
        run = project.json("runs", "show", "last")
        page.goto(f"{url}/runs/{run['experiment']}/{run['run_id']}")
        curve = "document.querySelector('[data-metric=loss] .plot')?.data?.[0]?.y"
        wait_for(page, f"{curve}?.length > 5", TRAINING)
        page.locator("#state").get_by_text("Running").wait_for()
        before = drawn(page, "loss")
        wait_for(page, f"{curve}.length > {before + 20}", TRAINING)
        page.get_by_text("Completed").wait_for(timeout=TRAINING)
        assert page.evaluate(f"{curve}.at(-1) < 0.5 * {curve}[0]")


def test_an_environment_s_pages_say_what_it_is_made_of(project: Project, page: "Page") -> None:
    project.json("register", "environment.yml")
    spec = (project.folder / "environment.yml").read_text()
    project.write("environment.yml", spec.replace("- jinja2\n", "- markupsafe\n"))
    project.json("register", "environment.yml")
    with studio(project.home) as url:
        page.goto(f"{url}/environments")
        page.get_by_role("link", name="small", exact=True).click()
        page.get_by_role("button", name="Show what changed").click()
        page.get_by_role("row", name="jinja2 removed").wait_for()
        check_accessible(page)
        page.get_by_role("link", name="small:2").click()
        page.get_by_role("row", name="markupsafe").get_by_text("small:1").wait_for()  # the layer is shared with it
        page.get_by_text("done in").first.wait_for()
        check_accessible(page)
        page.get_by_role("link", name="Builds").click()
        assert page.locator(".done").count() == 2
        page.get_by_role("link", name="small-").first.click()
        page.get_by_text("spec key").wait_for()
        check_accessible(page)


def test_a_logged_value_is_on_the_page_soon(new_run: Callable[..., RunRecord], home: Path, page: "Page") -> None:
    run = new_run(state="Running")
    with studio(home) as url:
        page.goto(address(url, run))
        wait_for(page, "document.querySelector('[data-metric=loss] output')?.textContent === '1'")
        log(run, "loss", [0.125], begin=3)
        wait_for(page, "document.querySelector('[data-metric=loss] output').textContent === '0.125'")
        log(run, "another", [5.0])
        wait_for(page, "document.querySelector('[data-metric=another] output')?.textContent === '5'")


def test_resource_charts_appear_and_grow_while_the_run_is_on(
    new_run: Callable[..., RunRecord], home: Path, page: "Page"
) -> None:
    run = new_run(state="Running")
    curve = "document.querySelector('[data-resource=\"{}\"] .plot')?.data?.[0]?.y"
    with studio(home) as url:
        page.goto(address(url, run))
        wait_for(page, "document.querySelector('[data-metric=loss] .plot')?.data?.[0]?.y?.length === 3")
        assert page.get_by_text("Resource use").is_hidden()
        use(run, (0.0, 0.0), (2.0, 3.0))
        wait_for(page, f"String({curve.format('processors')}) === '1.5'")
        page.get_by_text("Resource use").wait_for()
        use(run, (4.0, 3.0), (6.0, 7.0))
        wait_for(page, f"String({curve.format('processors')}) === '1.5,0,2'")
        assert page.evaluate(f"String({curve.format('memory, GB')})") == "2,4,6"
        assert page.evaluate(f"String({curve.format('GPU, %')})") == "20,40,60"
        page.reload()
        wait_for(page, f"String({curve.format('processors')}) === '1.5,0,2'")


def test_the_list_follows_what_happens(new_run: Callable[..., RunRecord], home: Path, page: "Page") -> None:
    run = new_run(state="Running")
    with studio(home) as url:
        page.goto(f"{url}/runs")
        page.get_by_label(f"Tick {run.run_id}").check()
        update_run(run, state="Completed")
        page.locator("#list").get_by_text("Completed").wait_for()
        later = new_run(state="Failed")
        page.get_by_role("link", name=later.run_id).wait_for()
        page.locator("#counts").get_by_text("1 Failed").wait_for()  # it was queued for a moment
        assert page.get_by_label(f"Tick {run.run_id}").is_checked()


def test_a_log_of_100_mb_opens_at_its_end_at_once(new_run: Callable[..., RunRecord], home: Path, page: "Page") -> None:
    run = new_run()
    line = b"%07d " + b"x" * 91 + b"\n"
    run.driver_log.write_bytes(b"".join(line % number for number in range(1_000_000)))
    moved: list[int] = []
    with studio(home) as url:
        page.on("response", lambda answer: moved.append(int(answer.headers.get("content-length", 0))))
        page.goto(address(url, run, "/logs"))
        page.get_by_text("0999999").wait_for()
        assert sum(moved) < 1_000_000  # bytes: a hundredth of the log
        page.get_by_role("button", name="Start").click()
        page.get_by_text("0000000").wait_for()
        page.get_by_role("button", name="Later").click()
        wait_for(page, "document.querySelector('.log pre').textContent.includes('0001400')")
        page.get_by_role("button", name="End").click()
        page.get_by_text("0999999").wait_for()
        page.get_by_role("button", name="Earlier").click()
        wait_for(page, "document.querySelector('.log pre').textContent.includes('0998000')")
        assert "100.0 MB" in page.locator("[data-place]").inner_text()


def test_runs_are_compared(new_run: Callable[..., RunRecord], home: Path, page: "Page") -> None:
    runs = [new_run([9.0 + n, 5.0, float(n)], parameters={"lr": lr}) for n, lr in enumerate((0.1, 0.03, 0.001))]
    with studio(home) as url:
        page.goto(f"{url}/runs")
        for run in runs:
            page.get_by_label(f"Tick {run.run_id}").check()
        page.get_by_role("button", name="Compare ticked").click()
        wait_for(page, "document.querySelector('[data-plot]')?.data?.length === 3")
        curve = f"document.querySelector('[data-plot]').data.find(trace => trace.name.endsWith('{runs[0].run_id}'))"
        assert page.evaluate(f"{curve}.y") == [9, 5, 0]

        page.get_by_label(f"Show {runs[1].run_id}").uncheck()
        wait_for(page, "document.querySelector('[data-plot]').data.length === 2")
        page.get_by_label("Log axis").check()
        wait_for(page, "document.querySelector('[data-plot]').layout.yaxis.type === 'log'")
        page.get_by_label("Across").select_option("relative")
        wait_for(
            page,
            "document.querySelector('[data-plot]').layout.xaxis.title.text === 'seconds'",
        )
        page.get_by_label("Smoothing").fill("0.5")
        wait_for(page, f"Math.abs({curve}.y[1] - 19 / 3) < 1e-9")

        page.get_by_role("button", name="lr").click()
        assert page.locator("tbody th").all_inner_texts() == [run.run_id for run in reversed(runs)]
        page.get_by_role("button", name="lr").click()
        assert page.locator("tbody th").all_inner_texts() == [run.run_id for run in runs]
        page.get_by_role("button", name="Show none").click()
        wait_for(page, "document.querySelector('[data-plot]').data.length === 0")


def test_tags_are_set_and_runs_deleted_from_the_page(
    new_run: Callable[..., RunRecord], home: Path, page: "Page"
) -> None:
    run, kept = new_run(), new_run()
    with studio(home) as url:
        page.goto(address(url, run))
        page.get_by_role("textbox", name="Name").fill("model")
        page.get_by_role("textbox", name="Value").fill("resnet")
        page.get_by_role("button", name="Set tag").click()
        page.get_by_role("button", name="Remove the tag model").wait_for()
        assert load_folder(run.folder).tags == {"model": "resnet"}
        page.get_by_role("button", name="Remove the tag model").click()
        page.get_by_role("button", name="Remove the tag model").wait_for(state="detached")
        page.get_by_role("button", name="Delete this run…").click()
        page.get_by_role("button", name="Delete", exact=True).click()
        page.get_by_role("link", name=kept.run_id).wait_for()
        assert (run.folder.exists(), kept.folder.exists()) == (False, True)


def test_a_running_run_is_canceled_from_its_page_by_the_keyboard(registered: Project, page: "Page") -> None:
    registered.write("src/train.py", STUBBORN)
    with studio(registered.home) as url:
        registered.envbuild("run", "--detach", "--experiment", "digits", "src", "train.py")
        run = load_run(registered.home, "last")
        page.goto(address(url, run))
        page.locator("#state").get_by_text("Running").wait_for()
        page.goto(address(url, run, "/logs"))
        page.get_by_text("ready").wait_for()
        page.get_by_role("button", name="Cancel this run…").focus()
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Let it run").wait_for()
        check_accessible(page)
        assert load_folder(run.folder).state == "Running"  # asked first
        page.get_by_role("button", name="Cancel the run").focus()
        page.keyboard.press("Enter")
        page.get_by_text("Cancel requested").wait_for()  # the job takes its time
        assert page.get_by_role("button", name="Cancel this run…").count() == 0
        (run.outputs / "now").touch()
        page.locator("#state").get_by_text("Canceled").wait_for()
        assert page.locator("#state").inner_text().strip() == "Canceled"


FOLDS = """\
import pathlib, time
from envbuild import Run

run = Run.get_context()
print("before all", flush=True)
for fold in range(2):
    with run.child_run(name="fold %d" % fold) as child:
        print("inside fold", fold, flush=True)
        pathlib.Path("model.txt").write_text("weights of fold %d" % fold)
        child.upload_file("model.txt", "model.txt")
        for step in range(1000):
            child.log("loss", 1.0 / (step + 1))
            if pathlib.Path("/envbuild/run/outputs/next-%d" % fold).exists():
                break
            time.sleep(0.1)
print("after all", flush=True)
"""


def test_child_runs_appear_below_their_run_and_have_pages_of_their_own(registered: Project, page: "Page") -> None:
    registered.write("src/train.py", FOLDS)
    curve = "document.querySelector('[data-metric=loss] .plot')?.data?.[0]"
    with studio(registered.home) as url:
        registered.envbuild("run", "--detach", "--experiment", "digits", "src", "train.py")
        run = load_run(registered.home, "last")
        page.goto(address(url, run))
        page.get_by_role("link", name="fold 0").wait_for()  # without a reload
        wait_for(page, f"{curve}?.name === 'fold 0'")
        page.get_by_role("link", name="fold 0").click()
        wait_for(page, f"{curve}?.y?.length > 2")
        before = drawn(page, "loss")
        wait_for(page, f"{curve}.y.length > {before + 3}")
        check_accessible(page)
        (run.outputs / "next-0").touch()
        page.locator("#state").get_by_text("Completed").wait_for()
        page.get_by_role("link", name="Outputs").click()
        page.get_by_role("link", name="model.txt", exact=True).click()
        page.get_by_text("weights of fold 0").wait_for()
        page.get_by_role("link", name="Logs").click()
        assert page.locator(".log pre").inner_text().strip() == "inside fold 0"
        check_accessible(page)
        page.get_by_label("Breadcrumb").get_by_role("link", name=run.run_id).click()
        page.get_by_role("link", name="fold 1").wait_for()
        (run.outputs / "next-1").touch()
        page.locator("#state").get_by_text("Completed").wait_for()


def test_histograms_and_pictures_of_event_files_are_shown_and_grow(
    new_run: Callable[..., RunRecord], home: Path, page: "Page"
) -> None:
    from PIL import Image
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    run = new_run(state="Running")
    writer = EventFileWriter(str(run.outputs / "tb"))
    picture = io.BytesIO()
    Image.new("RGB", (28, 20), "red").save(picture, "PNG")

    def write(step: int) -> None:
        bars = HistogramProto(min=0, max=2, bucket_limit=[1.0, 2.0], bucket=[1.0, step])
        shown = Summary.Image(encoded_image_string=picture.getvalue())
        values = [Summary.Value(tag="weights", histo=bars), Summary.Value(tag=HOSTILE, image=shown)]
        writer.add_event(Event(wall_time=5.0, step=step, summary=Summary(value=values)))
        writer.flush()

    for step in (1, 2):
        write(step)
    heat = "document.querySelector('[data-stored=\"weights, tb\"] .plot')?.data?.[0]"
    with studio(home) as url:
        page.goto(address(url, run))
        wait_for(page, f"{heat}?.x?.length === 2")
        assert page.evaluate(f"{heat}.z.map((row) => row[1]).reduce((sum, one) => sum + one)") == pytest.approx(3)
        wait_for(page, "document.querySelector('.pictures img')?.naturalWidth === 28")
        slider = page.get_by_role("slider", name="Step of the pictures")
        assert slider.get_attribute("aria-valuetext") == "step 2"
        slider.focus()
        page.keyboard.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") == "step 1"
        write(3)
        wait_for(page, f"{heat}.x.length === 3")
        wait_for(page, "document.querySelector('.leaf input').max === '2'")
        check_accessible(page)
        assert page.evaluate("window.hacked") is None
        writer.close()
        with next((run.outputs / "tb").iterdir()).open("ab") as file:
            file.write(bytes(12))
        page.reload()
        page.get_by_text("is damaged; nothing behind it can be read").wait_for()
        wait_for(page, f"{heat}?.x?.length === 3")


def test_a_wish_to_cancel_from_elsewhere_is_on_an_open_page(
    new_run: Callable[..., RunRecord], home: Path, page: "Page"
) -> None:
    run = new_run(state="Running")
    with studio(home) as url:
        page.goto(address(url, run))
        page.get_by_role("button", name="Cancel this run…").wait_for()
        (run.folder / CANCEL_FILE).write_text('{"grace": 60}')
        page.get_by_text("Cancel requested").wait_for()


def test_a_form_of_another_site_changes_nothing(
    new_run: Callable[..., RunRecord], home: Path, page: "Page", tmp_path: Path
) -> None:
    run = new_run()
    with studio(home) as url:
        page.goto(address(url, run))  # the cookie is there
        attack = tmp_path / "attack.html"
        attack.write_text(
            f'<form method="post" action="{url}/runs/delete"><input name="run" value="digits/{run.run_id}">'
            '<input name="csrf" value="0"></form><script>document.forms[0].submit()</script>'
        )
        page.goto(attack.as_uri())
        page.get_by_text("a change must come from the studio's own page").wait_for()
        assert run.folder.exists()


def test_nothing_hostile_runs_in_the_page(new_run: Callable[..., RunRecord], home: Path, page: "Page") -> None:
    run = new_run(
        script=HOSTILE, arguments=[HOSTILE], parameters={HOSTILE: HOSTILE}, tags={HOSTILE: HOSTILE},
    )  # fmt: skip
    other = new_run()
    for each in (run, other):
        log(each, HOSTILE, [1.0, 2.0])
    with run.metrics_file.open("a") as file:
        odd = {"class_labels": "ab", "matrix": [[1, 2], [3, 4]]}
        for kind, value in (
            ("row", {HOSTILE: HOSTILE}), ("row", None), ("table", {HOSTILE: [HOSTILE]}),
            ("list", [HOSTILE]), ("list", "no list"), ("confusion_matrix", odd),
        ):  # fmt: skip
            file.write(json.dumps({"k": HOSTILE, "kind": kind, "v": value, "t": 1.0}, separators=(",", ":")) + "\n")
        said = {"k": "child", "kind": "child", "v": {"name": HOSTILE, "parent": HOSTILE}, "t": 1.0, "run": HOSTILE}
        child = {"k": HOSTILE, "v": 1.0, "s": 0, "t": 1.0, "run": HOSTILE}
        file.write("".join(json.dumps(each, separators=(",", ":")) + "\n" for each in (said, child)))
    run.driver_log.write_text(HOSTILE)
    script = "<svg xmlns='http://www.w3.org/2000/svg'><script>document.title = 'hacked'</script></svg>"
    (run.outputs / "drawing.svg").write_text(script)
    (run.outputs / "<img src=x onerror=window.hacked=1>.txt").write_text(HOSTILE)
    with studio(home) as url:
        for rest in ("", "/logs", "/outputs", "/snapshot", "/record"):
            page.goto(address(url, run, rest))
            page.wait_for_load_state("networkidle") if rest in ("/snapshot", "/record") else page.wait_for_timeout(500)
            assert page.evaluate("window.hacked") is None, rest
        page.goto(address(url, run))
        wait_for(
            page,
            "document.querySelectorAll('#charts figure, #entries h3').length === 6",
        )
        assert page.evaluate("window.hacked") is None
        page.locator("#children a").click()
        wait_for(page, "document.querySelectorAll('#charts figure').length === 1")
        for tab in ("Logs", "Outputs"):
            page.get_by_role("link", name=tab).click()
            page.wait_for_timeout(300)
        assert page.evaluate("window.hacked") is None
        page.goto(f"{url}/compare?run=digits/{run.run_id}&run=digits/{other.run_id}")
        page.get_by_label("Metric").select_option(value=HOSTILE)
        wait_for(page, "document.querySelector('[data-plot]').data?.[0]?.y?.length === 2")
        assert page.evaluate("window.hacked") is None
        page.goto(address(url, run, "/output?file=drawing.svg"))
        assert page.title() != "hacked"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_passes_axe_and_fits(
    new_run: Callable[..., RunRecord], home: Path, browser: "Browser", scheme: Any, width: int
) -> None:
    run = new_run(tags={"model": "resnet"}, parameters={"lr": 0.1}, mounts={"data": "/data/" + "deep/" * 60})
    others = [new_run(state=state) for state in ("Failed", "Canceled", "Lost", "Running", "Queued")]
    matrix = {"data": {"class_labels": ["cat", "dog"], "matrix": [[5, 1], [2, 4]]}}
    with run.metrics_file.open("a") as file:
        for kind, value, more in (
            ("confusion_matrix", matrix, {}), ("list", [1.0, 2.0, 3.0], {}), ("row", {"a" * 30: 1, "b" * 30: 2}, {}),
            ("child", {"name": "fold 1"}, {"run": "c1"}),
        ):  # fmt: skip
            file.write(json.dumps({"k": kind, "kind": kind, "v": value, "t": 1000.0, **more}) + "\n")
    (run.outputs / "result.txt").write_text("done")
    run.driver_log.write_text("x" * 500 + "\n")
    with studio(home) as url:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
        page = context.new_page()
        places = [f"{url}{place}" for place in ("/runs", "/compare", "/environments", "/builds", "/nothing")]
        places += [
            address(url, run, rest) for rest in ("", "/logs", "/outputs?file=result.txt", "/snapshot", "/record")
        ]
        places += [address(url, run, f"/child{rest}?id=c1") for rest in ("", "/logs", "/outputs")]
        places += [f"{url}/runs/delete?run=digits/{run.run_id}", address(url, others[3], "/cancel")]
        for place in places:
            page.goto(place)
            page.wait_for_timeout(300)
            check_accessible(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, place
        context.close()


def test_the_page_is_used_by_the_keyboard_alone(new_run: Callable[..., RunRecord], home: Path, page: "Page") -> None:
    runs = [new_run(parameters={"lr": lr}) for lr in (0.1, 0.2)]
    with studio(home) as url:
        page.goto(f"{url}/runs")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"

        page.get_by_label(f"Tick {runs[0].run_id}").focus()
        page.keyboard.press("Space")
        page.get_by_label("Tick all").focus()
        page.keyboard.press("Space")
        assert page.get_by_label(f"Tick {runs[1].run_id}").is_checked()
        page.get_by_role("button", name="Compare ticked").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/compare?*")
        page.wait_for_load_state("load")
        wait_for(page, "document.querySelector('[data-plot]')?.data?.length === 2")
        page.get_by_role("button", name="lr").focus()
        page.keyboard.press("Enter")
        assert page.get_by_role("columnheader", name="lr").get_attribute("aria-sort") == "ascending"
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"  # where one is can be seen


def test_charts_follow_the_colour_scheme(new_run: Callable[..., RunRecord], home: Path, page: "Page") -> None:
    run = new_run()
    grid = "document.querySelector('[data-metric=loss] .plot')?.layout?.xaxis?.gridcolor"
    with studio(home) as url:
        page.emulate_media(color_scheme="light")
        page.goto(address(url, run))
        wait_for(page, grid)
        light = page.evaluate(grid)
        page.emulate_media(color_scheme="dark")
        wait_for(page, f"{grid} !== '{light}'")
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(17, 21, 26)"


def test_a_page_can_be_read_without_scripts(new_run: Callable[..., RunRecord], home: Path, browser: "Browser") -> None:
    run = new_run()
    run.driver_log.write_text("the last line\n")
    with studio(home) as url:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{url}/runs?state=Completed")
        page.get_by_role("link", name=run.run_id).click()
        page.get_by_role("link", name="Logs").click()
        page.get_by_text("the last line").wait_for()
        context.close()


def test_a_build_log_is_followed_while_it_is_written(home: Path, page: "Page") -> None:
    from envbuild.builder.log import BuildLog

    class Silent:
        def say(self, text: str) -> None: ...

        def log(self, stage: str, text: str) -> None: ...

        def task(self, stage: str, total: int | None, unit: str = "B") -> Any: ...

    with studio(home) as url:
        page.goto(f"{url}/builds")
        build = BuildLog(home / "logs/small-20261124-160400-000001/20_image_build_log.txt", Silent())
        build.log("lock", "first line")
        page.get_by_role("link", name="small-20261124-160400-000001").click()
        page.get_by_text("first line").wait_for()
        page.locator("#state").get_by_text("Running").wait_for()
        build.log("image", "second line")
        page.get_by_text("second line").wait_for()
        build.log("image", "done in 0.1 s")
        build.close()
        page.locator("#state").get_by_text("Done").wait_for()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_of_the_machine_gets_nothing(new_run: Callable[..., RunRecord], home: Path) -> None:
    new_run()
    with studio(home) as url:
        ask = [need("curl"), "--silent", "--output", os.devnull, "--write-out", "%{http_code}", f"{url}/runs"]
        assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == "200"
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *ask]
        assert subprocess.run(other, capture_output=True, text=True, check=True).stdout == "403"
        for own in own_addresses():  # from which a socket can go to 127.0.0.1, too
            assert subprocess.run([*other, "--interface", own], capture_output=True, text=True).stdout == "403"


def own_addresses() -> list[str]:
    """This machine's IPv4 addresses."""
    found = [each for addresses in psutil.net_if_addrs().values() for each in addresses]
    return [each.address for each in found if each.family == socket.AF_INET]


def test_sigterm_ends_the_studio_in_order(home: Path) -> None:
    home.mkdir(exist_ok=True)
    line = [sys.executable, "-m", "envbuild", "studio", "--port", "0"]
    with subprocess.Popen(line, env={**os.environ, "ENVBUILD_HOME": str(home)}, stdout=subprocess.PIPE) as process:
        assert process.stdout and b"Ctrl-C ends it" in process.stdout.readline()
        process.terminate()
        assert process.wait(PATIENCE) == -signal.SIGTERM
    assert not (home / "studio.json").exists()


def test_ctrl_c_is_how_a_studio_ends(home: Path) -> None:
    home.mkdir(exist_ok=True)
    line = [sys.executable, "-m", "envbuild", "studio", "--port", "0"]
    env = {**os.environ, "ENVBUILD_HOME": str(home)}
    with subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and b"Ctrl-C ends it" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert (process.wait(30), process.stderr and process.stderr.read()) == (0, b"")
    assert not (home / "studio.json").exists()


def test_ctrl_c_ends_the_studio_although_pages_listen(
    new_run: Callable[..., RunRecord], home: Path, page: "Page"
) -> None:
    run = new_run(state="Running")
    with studio(home) as url:  # which fails where it does not end
        page.goto(address(url, run))
        wait_for(page, "document.querySelector('[data-metric=loss] .plot')?.data?.[0]?.y?.length === 3")
        assert json.loads((home / "studio.json").read_bytes())["url"] == url
    assert not (home / "studio.json").exists()
