"""What `envbuild.toml` and the environment cannot say is one sentence."""

from pathlib import Path

import pytest

from envbuild.errors import SettingsError
from envbuild.settings import load_settings


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[pip]\nextra-indexes = [1]\n", "pip.extra-indexes must be a list of texts, not \\[1\\]"),
        ("[pip]\nfind-links = [true]\n", "pip.find-links must be a list of texts"),
        ("[build]\nallow-scripts = [['a']]\n", "build.allow-scripts must be a list of texts"),
        (
            "[pip]\nindex = '~nobody-of-this-name/x'\n",
            "names the home folder of a user whom this machine does not know",
        ),
        ("[channels]\nmain = 'http://me:secret@[::1/x'\n", r"^'\[::1/x', the address of a channel or index, is no URL"),
        ("[pip]\nindex = 'https://a.example.test:port/x'\n", "'https://a.example.test:port/x', the address of"),
        ("[channels]\nmain = '~nobody-of-this-name/x'\n", "names the home folder of a user"),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "envbuild.toml").write_text(text)
    with pytest.raises(SettingsError, match=sentence):
        load_settings(tmp_path, {})


def test_a_home_of_an_unknown_user_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="names the home folder of a user"):
        load_settings(tmp_path, {"ENVBUILD_HOME": "~nobody-of-this-name/x"})


@pytest.mark.parametrize("variable", ["UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"])
def test_an_index_of_uv_that_is_no_url_is_a_sentence(tmp_path: Path, variable: str) -> None:
    with pytest.raises(SettingsError, match="is no URL"):
        load_settings(tmp_path, {variable: "http://[::1"})
