"""Explicit lists: what is read, and one sentence for what is not."""

from pathlib import Path

import pytest

from envbuild.builder.inputs.explicit_file import is_explicit, read_explicit
from envbuild.errors import SpecError

URL = "https://h.test/main/linux-64/python-3.11.2-h1_0_cpython.conda"
MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def test_names_versions_and_builds_come_from_the_url(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"# platform: linux-64\n@EXPLICIT\n{URL}#{MD5}\n\n")
    assert is_explicit(file)
    found = read_explicit(file)
    package = found.packages[0]
    assert (found.platform, package.name, package.version, package.build, package.md5) == (
        "linux-64", "python", "3.11.2", "h1_0_cpython", MD5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("", "lists no packages; write it with conda list --explicit --sha256"),
        (URL, r"list.txt:2: python has no hash"),
        (f"{URL}#sha256:12", r"list.txt:2: python has no hash"),
        ("numpy=1.2", "is no URL of a package"),
        (f"https://h.test/main/linux-64/..%2F..%2Fa-1-0.conda#{MD5}", "'../../a-1-0.conda' is no package"),
        (f"https://[h.test/main/linux-64/a-1-0.conda#{MD5}", "is no URL of a package: Invalid IPv6 URL"),
        (f"https://h.test/python.conda#{MD5}", "is no package; expected CHANNEL/SUBDIR/NAME-VERSION-BUILD"),
        (
            f"{URL}#{MD5}\n{URL.replace('3.11.2', '3.12.0')}#{MD5}",
            "list.txt:3: python stands in the list a second time",
        ),
        (f"{URL}#{MD5}\nhttps://h.test/main/osx-64/a-1-0.conda#{MD5}", "mixes packages of linux-64, osx-64"),
    ],
)
def test_what_is_no_list_is_one_sentence(tmp_path: Path, lines: str, sentence: str) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"@EXPLICIT\n{lines}\n")
    with pytest.raises(SpecError, match=sentence):
        read_explicit(file)
