"""All bases of a platform share apt's lists, and apt is told to lock nothing: one works with them at a time."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from envbuild.builder.bases.base import BaseUpdate, update_base
from envbuild.builder.report import Silent
from envbuild.settings import Settings

APT_GET = """\
#!/bin/sh
folder=$(dirname "$2")
mkdir "$folder/busy" || touch "$folder/collided"
sleep 0.2
rmdir "$folder/busy"
"""
APT_CACHE = """\
#!/bin/sh
while [ "$1" != --no-all-versions ]; do shift; done
shift
for name; do printf 'Package: %s\\nVersion: 99\\nArchitecture: amd64\\nSize: 1\\nSHA256: 00\\n\\n' "$name"; done
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("apt-get", APT_GET), ("apt-cache", APT_CACHE)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return Settings(home=tmp_path / "home")


def update_at_once(settings: Settings, *names: str) -> list[BaseUpdate]:
    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(lambda name: update_base(name, settings, Silent()), names))


def test_two_bases_pinned_at_once_wait_for_each_other(settings: Settings) -> None:
    done = update_at_once(settings, "debian12-minimal", "debian12-openmpi")
    assert not (settings.home / "cache/apt/collided").exists()
    assert [each.version for each in done] == [2, 2]
    assert (settings.home / "bases/debian12-minimal/2/pins.toml").is_file()
    assert (settings.home / "bases/debian12-openmpi/2/pins.toml").is_file()


def test_one_base_pinned_twice_at_once_gets_one_new_version(settings: Settings) -> None:
    done = update_at_once(settings, "debian12-minimal", "debian12-minimal")
    assert sorted(bool(each.changes) for each in done) == [False, True]
    assert [each.version for each in done] == [2, 2]
