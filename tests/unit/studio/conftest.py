"""A home with one run in it, and the studio of that home, asked in process."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from envbuild.settings import Settings
from envbuild.studio.app import make_app
from envbuild.studio.security import Door
from envbuild.trainer.run import RunRecord, create_run, update_run

PORT = 8765
OURS = f"http://127.0.0.1:{PORT}"


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., RunRecord]:
    """Makes finished runs."""

    def make(experiment: str = "digits", state: str = "Completed", **document: Any) -> RunRecord:
        described = {
            "script": "train.py",
            "arguments": ["--lr", "0.1"],
            "environment": {"name": "small", "version": 1, "image_digest": "sha256:" + "a" * 64},
        }
        return update_run(create_run(tmp_path, experiment, {**described, **document}), state=state)

    return make


@pytest.fixture
def run(new_run: Callable[..., RunRecord]) -> RunRecord:
    return new_run()


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    """A browser's view: the right host, and no exception hidden."""
    app = make_app(Settings(home=tmp_path), Door("127.0.0.1", PORT))
    return TestClient(app, base_url=OURS, headers={"sec-fetch-site": "same-origin"})


@pytest.fixture
def token(client: TestClient) -> Callable[[str], str]:
    """Reads the token out of the form on a page, as a browser sends it."""

    def read(page: str) -> str:
        found = re.search(r'name="csrf" value="(\w+)"', client.get(page).text)
        assert found, "the page has no form with a token"
        return found[1]

    return read


@pytest.fixture
def page(run: RunRecord) -> str:
    """The address of the run's page."""
    return f"/runs/{run.experiment}/{run.run_id}"
