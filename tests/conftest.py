"""Golden digests: `golden.json`, changed only by `tests/update_golden`, in a commit that says why.

No test depends on how fast the machine is, property tests included.
"""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell that started us in the background has switched Ctrl-C off, for every process that we start, too
    signal.signal(signal.SIGINT, signal.default_int_handler)

for unusual in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
    # set on build machines, and not where users are: an answer must come out without the first, for instance
    os.environ.pop(unusual, None)

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

ENGINE_TESTS = (
    "test_docker_example.py",
    "test_in_container.py",
    "test_load.py",
    "test_shell.py",
    "test_target_conformance.py",
)
"""The files whose tests share a Docker Engine and a Podman: what one of them leaves there, the next one sees."""

GOLDEN = Path(__file__).with_name("golden.json")


@pytest.fixture
def golden() -> Callable[[str, object], None]:
    """Compares a value with the one that is kept under its name."""

    def compare(name: str, value: object) -> None:
        kept = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        if os.environ.get("UPDATE_GOLDEN") == "1":
            GOLDEN.write_text(json.dumps({**kept, name: value}, indent=1, sort_keys=True) + "\n")
            return
        assert kept.get(name) == value, f"{name} differs from tests/golden.json; if that is meant: tests/update_golden"

    return compare


class EngineTestsInTurn(LoadFileScheduling):
    """A file at a time to a test process, and all that use the shared engines to one: never two of them at once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "engines" if file.endswith(ENGINE_TESTS) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    return EngineTestsInTurn(config, log) if config.getoption("dist") == "loadfile" else None
