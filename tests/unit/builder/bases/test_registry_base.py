"""Bases from registries: what can be told from the settings alone."""

from pathlib import Path

import pytest

from envbuild.builder.bases.registry_base import ensure_registry_base
from envbuild.builder.report import Silent
from envbuild.errors import InputError
from envbuild.settings import BaseImage, Settings


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (BaseImage("registry.test/base:1", "linux-aarch64"), "the base team is for linux-aarch64, not for linux-64"),
        (BaseImage("registry.test/base"), "has neither tag nor digest"),
        (BaseImage("debian:12"), "or docker.io/library/debian:12 for one on Docker Hub"),
    ],
)
def test_a_setting_that_cannot_be_right_is_wrong_input(tmp_path: Path, image: BaseImage, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        ensure_registry_base("team", Settings(home=tmp_path, bases={"team": image}), Silent(), "linux-64")
