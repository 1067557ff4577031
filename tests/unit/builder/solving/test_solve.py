"""What rattler cannot read is one sentence: text with its line, before a channel is asked; a channel by its name."""

from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.builder.bases.base import Base
from envbuild.builder.inputs.environment_file import read_environment
from envbuild.builder.report import Silent
from envbuild.builder.solving.solve import solve
from envbuild.errors import FetchError, SolveError
from envbuild.settings import Settings

DEFAULT = "file:///no/channel"


@pytest.mark.parametrize("loosen", [(), ("builds", "pins")])
@pytest.mark.parametrize(
    ("channel", "dependency", "said"),
    [
        (DEFAULT, "numpy=^1.2$", "odd.yml:4: 'numpy ^1.2$.*' cannot be read as a package of conda"),
        (DEFAULT, "numpy 1.2 ^(a$", "odd.yml:4: 'numpy ==1.2 ^(a$' cannot be read as a package of conda"),
        (DEFAULT, "a::b::numpy", "odd.yml:4: 'a::b' is no channel that can be read"),
        ("a::b", "numpy", "odd.yml:2: 'a::b' is no channel that can be read"),
        ("http://[::1", "numpy", "odd.yml:2: 'http://[::1' is no channel that can be read"),
    ],
)
def test_odd_text_is_a_sentence_with_its_line(
    tmp_path: Path, channel: str, dependency: str, said: str, loosen: tuple[str, ...]
) -> None:
    file = tmp_path / "odd.yml"
    file.write_text(f"name: odd\nchannels: ['{channel}']\ndependencies:\n- {dependency}\n")
    spec = replace(read_environment(file), loosen=loosen)

    with pytest.raises(SolveError) as caught:
        solve(spec, Settings(home=tmp_path / "home"), "linux-64", Silent(), no_base)
    assert said in str(caught.value)


def test_the_channel_of_one_package_is_named_when_it_cannot_be_read(tmp_path: Path) -> None:
    for subdir in ("linux-64", "noarch"):
        index = tmp_path / "channel" / subdir / "repodata.json"
        index.parent.mkdir(parents=True)
        index.write_text('{"packages": {}}')
    file = tmp_path / "own.yml"
    file.write_text(f"channels: ['file://{tmp_path}/channel']\ndependencies: ['file:///no/channel::numpy']\n")
    with pytest.raises(FetchError, match="the channel file:///no/channel cannot be read"):
        solve(read_environment(file), Settings(home=tmp_path / "home"), "linux-64", Silent(), no_base)


def no_base() -> Base:
    raise AssertionError
