"""Who we are for a URL: the most particular answer wins, and nobody else's place gets it."""

import json
from pathlib import Path

import pytest

from envbuild.builder.fetching.credentials import Credential, Credentials, redacted
from envbuild.builder.lock import without_credentials
from envbuild.errors import SettingsError
from envbuild.settings import PipSettings, Settings


def credentials(tmp_path: Path, channels: dict[str, str], index: str = "", **environ: str) -> Credentials:
    settings = Settings(home=tmp_path, channels=channels, pip=PipSettings(index))
    return Credentials(settings, {"HOME": str(tmp_path), **environ})


def test_a_token_is_for_its_channel_alone(tmp_path: Path) -> None:
    found = credentials(tmp_path, {"my-own": "https://h.test/mine"}, ENVBUILD_CHANNEL_MY_OWN_TOKEN="abc")
    assert found.find("https://h.test/mine/noarch/a.conda") == Credential("", "abc")
    assert found.find("https://h.test/mine2/noarch/a.conda") is None
    assert found.find("https://h.test.evil/mine/a.conda") is None
    assert found.find("https://h.test:8443/mine/a.conda") is None


def test_an_index_gets_a_user_beside_a_token(tmp_path: Path) -> None:
    found = credentials(tmp_path, {}, "https://i.test/simple", ENVBUILD_PIP_TOKEN="abc").find("https://i.test/files/a")
    assert found is not None
    assert found.pair == ("__token__", "abc")


def test_variables_stand_before_the_url_and_the_url_before_files(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine h.test login n password 3\n")
    channels = {"c": "https://u:2@h.test/c"}
    assert credentials(tmp_path, channels).find("https://h.test/c/x") == Credential("u", "2")
    assert credentials(tmp_path, channels).find("https://h.test/other/x") == Credential("n", "3")
    variables = {"ENVBUILD_CHANNEL_C_USER": "v", "ENVBUILD_CHANNEL_C_PASSWORD": "1"}
    assert credentials(tmp_path, channels, **variables).find("https://h.test/c/x") == Credential("v", "1")


def test_rattler_s_file_is_read_with_its_patterns(tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    basic = {"BasicHTTP": {"username": "u", "password": "p"}}
    file.write_text(json.dumps({"*.h.test": {"BearerToken": "t"}, "a.h.test": basic, "c.test": {"CondaToken": "x"}}))
    found = credentials(tmp_path, {}, RATTLER_AUTH_FILE=str(file))
    assert found.find("https://b.h.test/x") == Credential("", "t")
    assert found.find("https://a.h.test/x") == Credential("u", "p")
    file.write_text("[1]")
    with pytest.raises(SettingsError, match="cannot be read; write it with rattler auth login"):
        credentials(tmp_path, {}, RATTLER_AUTH_FILE=str(file))


def test_a_token_in_the_path_comes_back_for_downloads(tmp_path: Path) -> None:
    found = credentials(tmp_path, {"c": "https://h.test/t/SECRET/c"})
    assert found.with_token("https://h.test/c/noarch/a.conda") == "https://h.test/t/SECRET/c/noarch/a.conda"
    assert found.with_token("https://h.test/d/a.conda") == "https://h.test/d/a.conda"


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://u:p@h.test/a", "https://h.test/a"),
        ("https://h.test/t/abc/c/noarch", "https://h.test/c/noarch"),
        ("git+ssh://git@h.test/a.git@c", "git+ssh://git@h.test/a.git@c"),
        ("git+ssh://git:abc@h.test/a.git@c", "git+ssh://git@h.test/a.git@c"),
        ("https://u:p@abc@h.test/a", "https://h.test/a"),
        ("git+file:///srv/a@b", "git+file:///srv/a@b"),
        ("https://h.test/a@b/c", "https://h.test/a@b/c"),
        ("conda-forge", "conda-forge"),
    ],
)
def test_urls_without_credentials(url: str, public: str) -> None:
    assert without_credentials(url) == public
    assert "abc" not in redacted(f"cannot read {url} now")


def test_of_two_channels_one_below_the_other_the_longer_is_meant(tmp_path: Path) -> None:
    found = credentials(tmp_path, {"all": "https://u:1@h.test/c", "team": "https://u:2@h.test/c/team"})
    assert found.find("https://h.test/c/team/noarch/a.conda") == Credential("u", "2")
    assert found.find_at("h.test", "/c/team/noarch/repodata.json") == Credential("u", "2")
    found = credentials(tmp_path, {"all": "https://h.test/t/ONE/c", "team": "https://h.test/t/TWO/c/team"})
    assert found.with_token("https://h.test/c/team/noarch/a.conda") == "https://h.test/t/TWO/c/team/noarch/a.conda"


def test_a_netrc_of_another_encoding_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_bytes(b"machine h.test login n\xefna password \xff\n")
    with pytest.raises(SettingsError, match="cannot be read as netrc"):
        credentials(tmp_path, {})
