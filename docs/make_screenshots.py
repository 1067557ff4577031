"""Draws docs/screenshots/*.png: every page of the studio, of a real home with real runs.

    make demo && make screenshots

Takes a copy of the home with the example in it, into a home folder of its own, so that no picture shows a path of this
machine; registers two versions of its environment, trains with several learning rates, and photographs the pages in
a headless Chromium (Debian: chromium), of some in the dark scheme too.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "screenshots"
EXAMPLE = ROOT / "examples" / "cifar10"
LEARNING_RATES = (0.001, 0.03, 0.003, 0.01)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def main() -> None:
    demo = Path(os.environ.get("ENVBUILD_HOME", ROOT / ".demo" / "home"))
    if not (demo / "environments").is_dir():
        sys.exit("the example is not there yet: make demo")
    chromium = shutil.which("chromium") or sys.exit("Chromium is not installed; on Debian: apt-get install chromium")
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=demo.parent) as folder:
        os.environ["HOME"] = folder  # pages show it as ~
        home = Path(folder) / ".local/share/envbuild"
        home.parent.mkdir(parents=True)
        subprocess.run(["cp", "-a", "--link", demo, home], check=True)
        # what is written in place must not be shared by links, and nothing of other times is to be seen
        for part in ("cache", "runs", "environments", "logs"):
            shutil.rmtree(home / part, ignore_errors=True)
        version, runs = fill(home, project(Path(folder)))
        with studio(home) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
            photograph(browser, url, version, runs)
            browser.close()


def project(folder: Path) -> Path:
    """A copy of the example, with the channels where they are."""
    place = folder / "cifar10"
    shutil.copytree(EXAMPLE, place, ignore=shutil.ignore_patterns(".*"))
    settings = (EXAMPLE / "envbuild.toml").read_text()
    (place / "envbuild.toml").write_text(settings.replace("../../.demo/channel", str(ROOT / ".demo" / "channel")))
    return place


def fill(home: Path, place: Path) -> tuple[int, list[dict[str, Any]]]:
    """Two versions of the environment, and runs of the first one with several learning rates."""
    envbuild(home, place, "register", "pytorch-env.yml")
    spec = (place / "pytorch-env.yml").read_text()
    (place / "pytorch-env.yml").write_text(f"{spec.rstrip()}\n  - pip\n")
    version = int(json.loads(envbuild(home, place, "register", "--json", "pytorch-env.yml"))["version"])
    runs: list[dict[str, Any]] = []
    for rate in LEARNING_RATES:
        line = ["run", "--json", "--env", f"pytorch-env:{version - 1}", "--experiment", "cifar10", "--tag", "model=net"]
        line += ["--mount", "data=data", "src", "train.py", "--data", "{data}"]
        line += ["--learning-rate", str(rate), "--epochs", "1", "--batch-size", "16", "--log-every", "12"]
        runs.insert(0, json.loads(envbuild(home, place, *line)))
    return version, runs


def photograph(browser: Browser, url: str, version: int, runs: list[dict[str, Any]]) -> None:
    run = f"/runs/cifar10/{runs[0]['run_id']}"
    build = "document.querySelector('tbody a').click()"
    for name, place, script in (
        ("runs", "/runs", ""),
        ("run", run, ""),
        ("logs", f"{run}/logs", ""),
        ("outputs", f"{run}/outputs", ""),
        ("snapshot", f"{run}/snapshot", ""),
        ("compare", "/compare?experiment=cifar10", ""),
        ("environments", "/environments", ""),
        ("version", f"/environments/pytorch-env/{version}", ""),
        ("difference", f"/difference?from=pytorch-env:{version - 1}&to=pytorch-env:{version}", ""),
        ("build", "/builds", build),
    ):
        for scheme in ("light", "dark") if name in ("run", "compare") else ("light",):
            context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 800})
            page = context.new_page()
            page.goto(url + place)
            if script:
                page.evaluate(script)
            page.wait_for_timeout(2000)
            file = TARGET / (f"{name}-dark.png" if scheme == "dark" else f"{name}.png")
            page.screenshot(path=file)
            context.close()
            shrink(file)
            print(f"{file.relative_to(ROOT)}  {file.stat().st_size // 1000} kB")


def shrink(file: Path) -> None:
    """Draw the picture with 256 colours: the most frequent ones exactly, and of the rest those that cover it best.

    Pillow's own palettes merge colours that are near: a page and the cards on it.
    """
    with Image.open(file) as opened:
        pixels = numpy.asarray(opened.convert("RGB"))
    colours, place, counts = numpy.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    order = numpy.argsort(-counts)
    palette, rest = colours[order[:128]], colours[order[128:]]
    if len(rest):
        spread = Image.fromarray(rest.reshape(1, -1, 3)).quantize(128, method=Image.Quantize.MAXCOVERAGE)
        palette = numpy.concatenate([palette, numpy.reshape(spread.getpalette(), (-1, 3))]).astype(numpy.uint8)
    distances = ((colours[:, None, :].astype(int) - palette[None, :, :]) ** 2).sum(axis=2)
    nearest = distances.argmin(axis=1).astype(numpy.uint8)
    drawn = Image.fromarray(nearest[place.reshape(pixels.shape[:2])])
    drawn.putpalette(palette.tobytes())
    drawn.save(file, optimize=True)


@contextmanager
def studio(home: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "envbuild", "studio", "--port", "0", "--json"],
        env={**os.environ, "ENVBUILD_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        document = "".join(iter(process.stdout.readline, "}\n"))
        yield str(json.loads(document + "}")["url"])
    finally:
        process.terminate()
        process.wait(30)


def envbuild(home: Path, folder: Path, *line: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "envbuild", *map(str, line)],
        cwd=folder,
        env={**os.environ, "ENVBUILD_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    main()
