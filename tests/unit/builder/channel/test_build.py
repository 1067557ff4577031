"""Where a channel can be built."""

from pathlib import Path

import pytest

from envbuild.builder.channel.build import build_channel
from envbuild.builder.report import Silent
from envbuild.errors import InputError


def test_a_channel_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "channel.toml").write_text('[python]\nversion = "3.11"\n')
    with pytest.raises(InputError, match=r"channel.toml is a file; a channel is a folder"):
        build_channel(tmp_path / "channel.toml", tmp_path / "channel.toml", Silent())
