"""A real headless Chromium, and a studio started by the real command line."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness import PATIENCE, need, need_library

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WAIT = 120_000
"""Milliseconds that a test waits for what the page is to show: the machine may be busy."""

_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def chromium() -> "Iterator[Browser]":
    """The system's Chromium, with a new profile."""
    from playwright.sync_api import sync_playwright

    path = need("chromium")
    need_library("libatomic.so.1")  # Playwright's own program is linked against it
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def studio(home: Path, *options: str) -> Iterator[str]:
    """`envbuild studio` for `home`; its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "envbuild", "studio", "--port", "0", "--json", *options],
        env={**os.environ, "ENVBUILD_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        document = ""
        for line in process.stdout:
            document += line
            if line.startswith("}"):
                break
        yield str(json.loads(document)["url"])
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
