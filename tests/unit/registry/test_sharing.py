"""What is wrong with a line is said before any registry is asked."""

from pathlib import Path

import pytest

from envbuild.builder.report import Silent
from envbuild.errors import InputError
from envbuild.registry.sharing import pull
from envbuild.settings import Settings

NOBODY = "127.0.0.1:1/team/small:1"


@pytest.mark.parametrize("name", ["", "../escape", "a b"])
def test_a_name_that_no_environment_can_have_is_refused_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot name an environment"):
        pull(NOBODY, Settings(home=tmp_path), Silent(), name=name)


def test_an_unknown_platform_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the platform 'linux-99' is unknown"):
        pull(NOBODY, Settings(home=tmp_path), Silent(), platform="linux-99")
