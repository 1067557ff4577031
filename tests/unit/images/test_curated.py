"""The curated environments as data."""

from pathlib import Path

import pytest

from envbuild.builder.inputs.spec_file import read_spec
from envbuild.errors import InputError, NotFound
from envbuild.images.catalog import base_names
from envbuild.images.curated import curated_names, read_curated


def test_what_comes_with_envbuild() -> None:
    assert curated_names() == ["lightgbm", "minimal", "pytorch-cpu", "pytorch-cuda", "sklearn"]


@pytest.mark.parametrize("name", curated_names())
def test_each_reads_without_a_note_and_names_a_base_that_exists(name: str) -> None:
    curated = read_curated(name)
    spec = read_spec(curated.spec_file)
    assert (spec.name, spec.notes) == (f"curated-{name}", ())
    assert curated.base in base_names()


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="no curated environment is named 'pytorch-cup'; did you mean pytorch-cpu?"):
        read_curated("pytorch-cup")


@pytest.mark.parametrize("text", ["", "description = ", 'description = "x"'])
def test_a_damaged_description_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/about.toml").write_text(text)
    with pytest.raises(InputError, match=r"about.toml cannot be read .*; install envbuild again"):
        read_curated("broken", tmp_path)
