"""A spec written as an environment file is the spec read from it."""

from dataclasses import replace
from pathlib import Path

from envbuild.builder.inputs.environment_text import environment_text
from envbuild.builder.inputs.spec_file import read_spec

TEXT = """
name: mine
channels: [conda-forge, defaults]
dependencies: [__cuda=12.4, python=3.11, 'numpy >=1,<3', conda-forge::scipy=1.11=py311*, pip, pip: [--pre, six, 'a>1']]
variables: {LEVEL: '1', WORD: "a: b"}
"""


def test_what_is_written_reads_back_equal(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yml", tmp_path / "second.yml"
    first.write_text(TEXT)
    spec = read_spec(first)
    second.write_text(environment_text(spec))
    assert replace(read_spec(second), source=first) == spec
