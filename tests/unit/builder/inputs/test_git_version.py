"""What git says of a source, whatever its repository and this machine have set."""

import os
import subprocess
from pathlib import Path

import pytest

from envbuild.builder.inputs.git_version import describe, version_tool
from envbuild.builder.lock import GitDescription
from envbuild.errors import SpecError

SCM = '[build-system]\nrequires = ["setuptools_scm"]\n'
SIGNATURE = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n nothing\n -----END PGP SIGNATURE-----\n"
PERSON = "n <n@example.test> 1700000000 +0000"


def git(folder: Path, *words: str, given: str = "") -> str:
    who = ["-c", "user.name=n", "-c", "user.email=n@example.test", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", folder, *who, *words], input=given, capture_output=True, text=True, check=True
    )  # fmt: skip
    return done.stdout.strip()


def repository(folder: Path, pyproject: str = SCM) -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").write_text(pyproject)
    (folder / "data.bin").write_text("1")
    (folder / ".gitattributes").write_text("*.bin filter=theirs\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def described(folder: Path) -> GitDescription:
    tool = version_tool(folder)
    found = describe(folder, tool) if tool else None
    assert found is not None
    return found


def test_no_program_that_the_repository_names_is_run(tmp_path: Path) -> None:
    folder, trap = repository(tmp_path / "source"), tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran-$$\ncat\n")
    trap.chmod(0o755)
    tree = git(folder, "rev-parse", "HEAD^{tree}")
    signed = f"tree {tree}\nauthor {PERSON}\ncommitter {PERSON}\n{SIGNATURE}\nsigned\n"
    git(folder, "reset", "--quiet", "--hard", git(folder, "hash-object", "-t", "commit", "-w", "--stdin", given=signed))
    for name in ("filter.theirs.clean", "filter.theirs.process", "gpg.program", "core.fsmonitor", "core.pager"):
        git(folder, "config", name, str(trap))
    git(folder, "config", "filter.theirs.required", "true")
    git(folder, "config", "log.showSignature", "true")
    os.utime(folder / "data.bin", (1, 1))  # looks changed, so that git reads it again
    assert not described(folder).changed
    assert list(tmp_path.glob("ran-*")) == []


def test_a_partial_clone_brings_nothing_by_programs_that_it_names(tmp_path: Path) -> None:
    folder, trap = repository(tmp_path / "source"), tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
    trap.chmod(0o755)
    for name, value in (
        ("core.repositoryFormatVersion", "1"), ("extensions.partialClone", "origin"), ("remote.origin.url", folder),
        ("remote.origin.promisor", "true"), ("remote.origin.uploadpack", trap), ("protocol.file.allow", "always"),
    ):  # fmt: skip
        git(folder, "config", name, str(value))
    tree = git(folder, "rev-parse", "HEAD^{tree}")
    (folder / ".git/objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(SpecError, match="cannot be read"):
        described(folder)
    assert not (tmp_path / "ran").exists()


def test_the_repository_of_a_hook_that_runs_us_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, other = repository(tmp_path / "source"), repository(tmp_path / "other")
    git(folder, "tag", "v1.0")
    git(other, "tag", "v9.0")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    found = described(folder)
    assert (found.tag, found.changed) == ("v1.0", False)


def test_the_name_of_a_tag_may_be_any_bytes(tmp_path: Path) -> None:
    folder = repository(tmp_path / "source")
    subprocess.run([b"git", b"-C", os.fsencode(folder), b"tag", b"v1.0-\xff"], check=True)
    assert described(folder).tag == "v1.0-\ufffd"


@pytest.mark.parametrize(
    ("table", "tag"),
    [
        ("[tool.setuptools_scm]\n", "core-2.0"),
        ("[tool.setuptools_scm]\ngit_describe_command = 'git describe --tags --long --match api-*'\n", "api-1.0"),
        ("[tool.setuptools_scm]\ngit_describe_command = ['git', 'describe', '--exclude=core*']\n", "api-1.0"),
        ("[tool.setuptools_scm.scm.git]\ndescribe_command = 'git describe --exclude core*'\n", "api-1.0"),
        (
            "[tool.hatch.version]\nsource = 'vcs'\n[tool.hatch.version.raw-options]\n"
            "git_describe_command = ['git', 'describe', '--match', 'api-*']\n",
            "api-1.0",
        ),
    ],
)
def test_a_tool_looks_at_the_tags_of_its_own_command(tmp_path: Path, table: str, tag: str) -> None:
    folder = repository(tmp_path / "source", '[build-system]\nrequires = ["hatch-vcs", "setuptools_scm"]\n' + table)
    git(folder, "tag", "api-1.0")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "more")
    git(folder, "tag", "core-2.0")
    assert described(folder).tag == tag


@pytest.mark.parametrize(
    "text", ["[build-system]\nrequires = 5\n", f"a = {'[' * 5000}{']' * 5000}", "tool = 1", "\xff"]
)
def test_a_strange_pyproject_has_no_such_tool(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_bytes(text.encode("latin-1"))
    assert version_tool(tmp_path) is None


def test_a_link_to_a_device_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").symlink_to("/dev/zero")
    assert version_tool(tmp_path) is None


def test_a_damaged_repository_is_one_sentence(tmp_path: Path) -> None:
    folder = repository(tmp_path / "source")
    (folder / ".git/index").write_bytes(b"nothing of an index")
    with pytest.raises(SpecError, match="the git repository of .* cannot be read"):
        described(folder)
