"""Files of other tools: one sentence that says what is read, and how to get there."""

from pathlib import Path

import pytest

from envbuild.builder.inputs.spec_file import read_spec
from envbuild.errors import SpecError


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("pylock.toml", "write it as requirements: the tool that locked it can"),
        ("pylock.dev.toml", "write it as requirements: the tool that locked it can"),
        ("uv.lock", "uv export --format requirements.txt > requirements.txt"),
        ("poetry.lock", "poetry export > requirements.txt"),
        ("pyproject.toml", "name the folder in a requirements.txt (a line '.')"),
        ("Pipfile.lock", "pipenv requirements --hash > requirements.txt"),
        ("pixi.toml", "name the pixi.lock beside it"),
        ("Dockerfile", "name the environment file that it installs"),
        ("train.ipynb", "name an environment file"),
    ],
)
def test_a_file_of_another_tool_says_how_to_go_on(tmp_path: Path, name: str, way: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(SpecError) as raised:
        read_spec(tmp_path / name)
    assert str(raised.value).startswith(f"{tmp_path / name}: a {name} is not read (environment.yml, requirements.txt,")
    assert way in str(raised.value)
