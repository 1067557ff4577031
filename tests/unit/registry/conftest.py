"""Environments registered by hand: records alone, no packages."""

from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.registry.environments import Environment, add_version


def record(identity: str = "a", **changes: object) -> dict[str, object]:
    """A small record, as `register` writes it."""
    layer = {"diff_id": "sha256:" + "1" * 64, "size": 10, "tree": "1" * 16, "title": "base", "packages": []}
    return {
        "environment_id": f"sha256:{identity * 64}",
        "spec_key": f"sha256:{identity * 64}",
        "registered": "2026-11-24T10:00:00Z",
        "platform": "linux-64",
        "packages": 2,
        "image": {"digest": f"sha256:{identity * 64}", "config_digest": "sha256:" + "c" * 64, "layers": [layer]},
        **changes,
    }


@pytest.fixture
def add(tmp_path: Path) -> Callable[..., Environment]:
    """Registers the next version of a name; `identity` is the hexadecimal digit that its digests are made of."""

    def call(name: str = "small", identity: str = "a", *, wish: int | None = None, **changes: object) -> Environment:
        return add_version(tmp_path, name, record(identity, **changes), {}, wish=wish)[0]

    return call
