"""The log of a build takes whatever is told."""

from pathlib import Path

from envbuild.builder.log import BuildLog
from envbuild.builder.report import Silent


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    log = BuildLog(tmp_path / "log.txt", Silent())
    log.log("scripts", "made \udcff.txt")
    log.close()
    assert (tmp_path / "log.txt").read_text().endswith("scripts  made \\udcff.txt\n")
