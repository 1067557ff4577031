"""What rattler cannot read is one sentence with its line, before a channel is asked."""

from dataclasses import replace
from pathlib import Path

import pytest

from envbuild.builder.bases.base import Base
from envbuild.builder.inputs.environment_file import read_environment
from envbuild.builder.report import Silent
from envbuild.builder.solving.solve import solve
from envbuild.errors import SolveError
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

    def no_base() -> Base:
        raise AssertionError

    with pytest.raises(SolveError) as caught:
        solve(spec, Settings(home=tmp_path / "home"), "linux-64", Silent(), no_base)
    assert said in str(caught.value)
