"""What uv has solved may have been written by the code of a source: it is read, and nothing is believed."""

from pathlib import Path

import pytest

from envbuild.builder.pip.solved import read_solved

SIX = """[[packages]]
name = "six"
version = "1.17.0"
index = "https://index.example.test/simple"
wheels = [{ url = "https://index.example.test/six-1.17.0-py2.py3-none-any.whl", hashes = { sha256 = "aa" } }]
"""


def test_a_solution_is_its_packages(tmp_path: Path) -> None:
    file = tmp_path / "pylock.toml"
    file.write_text(f'lock-version = "1.0"\n{SIX}')
    (six,) = read_solved(file)
    assert (six["name"], six["wheels"][0]["hashes"]["sha256"]) == ("six", "aa")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no lock", "Expected '='"),
        ("packages = 7", "no pylock.toml"),
        ("packages = [7]", "no pylock.toml"),
        ("[[packages]]\nversion = '1'", "no pylock.toml"),
        (SIX.replace('"six"', '"../../x"'), "a name is none"),
        (SIX.replace('"1.17.0"', "1"), "a value is no text"),
        (SIX.replace('sha256 = "aa"', "sha256 = 1"), "a value is no text"),
        (SIX.replace('sha256 = "aa"', "md5 = 'a'"), "no pylock.toml"),
        (SIX.replace("url = ", "link = "), "no pylock.toml"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "pylock.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_solved(file)


def test_a_link_and_what_is_no_file_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "other").write_text(SIX)
    (tmp_path / "link").symlink_to(tmp_path / "other")
    for file in (tmp_path / "link", tmp_path, tmp_path / "absent"):
        with pytest.raises(ValueError, match="no plain file"):
            read_solved(file)
