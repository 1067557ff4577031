"""What pip's own records say of an environment, damaged ones too."""

from pathlib import Path

import pytest

from envbuild.builder.inputs.installed import installed_requirements
from envbuild.errors import SpecError


@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[1]",
        '{"url": 5, "vcs_info": 3}',
        '{"url": "file:///x", "dir_info": 3}',
        '{"url": "https://h.test/a.tgz", "archive_info": {"hashes": 5}}',
    ],
)
def test_a_damaged_record_is_one_sentence(tmp_path: Path, record: str) -> None:
    folder = tmp_path / "a-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: a\nVersion: 1\n")
    (folder / "direct_url.json").write_text(record)
    with pytest.raises(SpecError, match=r"a there has a damaged direct_url\.json"):
        installed_requirements(tmp_path, tmp_path)
