"""While a studio is up its address is in the home; afterwards, however it ended, it is not."""

import json
from pathlib import Path

from envbuild.studio.announce import announce
from envbuild.trainer.portal import studio_url


def test_a_studio_that_is_up_is_found(tmp_path: Path) -> None:
    with announce(tmp_path, "http://127.0.0.1:8765"):
        assert studio_url(tmp_path) == "http://127.0.0.1:8765"
    assert studio_url(tmp_path) is None
    assert not (tmp_path / "studio.json").exists()


def test_what_a_killed_studio_left_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "studio.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": 2**22 + 1, "start": "1"}))
    assert studio_url(tmp_path) is None


def test_a_later_studio_s_address_stays(tmp_path: Path) -> None:
    with announce(tmp_path, "http://127.0.0.1:1"):
        later = (tmp_path / "studio.json").read_text().replace(":1", ":2")
        (tmp_path / "studio.json").write_text(later)
    assert studio_url(tmp_path) == "http://127.0.0.1:2"
