"""A mirror set up for uv is a setting below envbuild.toml; nothing else of uv's variables chooses packages."""

from pathlib import Path

import pytest

from envbuild.builder.fetching.credentials import Credentials
from envbuild.builder.pip.uv import notes, uv_environment
from envbuild.builder.steering import steering
from envbuild.settings import Settings, load_settings


def test_the_indexes_of_uv_are_settings(tmp_path: Path) -> None:
    environ = {
        "UV_DEFAULT_INDEX": "https://new.example.test/simple",
        "UV_INDEX_URL": "https://old.example.test/simple",
        "UV_INDEX": "a=https://a.example.test/simple",
        "UV_EXTRA_INDEX_URL": "https://b.example.test/simple https://c.example.test/simple",
        "UV_FIND_LINKS": f"https://links.example.test/x,{tmp_path}",
    }
    settings = load_settings(tmp_path, environ)
    assert settings.pip.index == "https://new.example.test/simple"
    assert settings.pip.extra_indexes == (
        "https://a.example.test/simple",
        "https://b.example.test/simple",
        "https://c.example.test/simple",
    )
    assert settings.pip.find_links == ("https://links.example.test/x", tmp_path.as_uri())
    assert settings.origins["pip.index"] == "UV_DEFAULT_INDEX"


def test_the_file_and_our_own_variables_come_before_uv_s(tmp_path: Path) -> None:
    environ = {"UV_INDEX_URL": "https://uv.example.test/simple", "UV_EXTRA_INDEX_URL": "https://more.example.test/"}
    (tmp_path / "envbuild.toml").write_text('[pip]\nindex = "https://file.example.test/simple"\n')
    settings = load_settings(tmp_path, environ)
    assert settings.pip.index == "https://file.example.test/simple"
    assert settings.pip.extra_indexes == ("https://more.example.test/",)
    own = load_settings(tmp_path, {**environ, "ENVBUILD_PIP_INDEX": "https://own.example.test/simple"})
    assert own.pip.index == "https://own.example.test/simple"


def test_the_credentials_of_a_named_index_go_with_it_and_into_no_key(tmp_path: Path) -> None:
    environ = {
        "UV_INDEX": "team=https://team.example.test/simple",
        "UV_INDEX_TEAM_USERNAME": "me",
        "UV_INDEX_TEAM_PASSWORD": "p/w",
    }
    settings = load_settings(tmp_path, environ)
    known = Credentials(settings, {}).find("https://team.example.test/simple/six")
    assert known is not None
    assert known.pair == ("me", "p/w")
    assert steering(settings, ["linux-64"])["pip"] == ["", "https://team.example.test/simple", "links"]


def test_what_would_choose_other_packages_does_not_reach_uv_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steers = ("UV_PRERELEASE", "UV_RESOLUTION", "UV_EXCLUDE_NEWER", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_NO_BINARY")
    quiet = ("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_PYTHON", "UV_PREVIEW")
    outside = ("UV_CACHE_DIR", "UV_HTTP_TIMEOUT", "UV_INSECURE_HOST", "UV_INDEX_TEAM_PASSWORD", "HTTPS_PROXY")
    for name in (*steers, *quiet, *outside):
        monkeypatch.setenv(name, "x")
    settings = Settings(home=tmp_path)
    environment = uv_environment(settings, Credentials(settings, {}))
    assert not environment.keys() & {*steers, *quiet}
    assert environment.keys() >= {*outside, "PATH"}
    (said,) = notes(settings)
    assert said.startswith(f"{', '.join(sorted(steers))} of this shell does not count")


def test_an_index_that_comes_from_uv_s_variables_is_said(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {"UV_INDEX_URL": "https://uv.example.test/simple"})
    assert notes(settings)[0] == "pip.index of the settings is not given; taken from UV_INDEX_URL"
