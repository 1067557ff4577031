"""Golden digests: `golden.json`, changed only by `tests/update_golden`, in a commit that says why."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

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
