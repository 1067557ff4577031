"""Contents kept once: in pieces, under their digest, never a changed one."""

from pathlib import Path

import pytest

from envbuild.trainer import content
from envbuild.trainer.content import Content, Unsteady, keep_file, link_file

HELLO = Content("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", 5)


def test_a_content_is_named_by_its_digest_and_kept_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello")
    (tmp_path / "b").write_text("hello")
    assert keep_file(tmp_path / "a", tmp_path / "store") == keep_file(tmp_path / "b", tmp_path / "store") == HELLO
    (kept,) = (tmp_path / "store").iterdir()
    assert (kept.name, kept.read_text(), oct(kept.stat().st_mode & 0o777)) == (HELLO.sha256, "hello", "0o444")


def test_a_file_larger_than_a_piece_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 9000)
    kept = keep_file(tmp_path / "a", tmp_path / "store")
    assert (tmp_path / "store" / kept.sha256).read_bytes() == (tmp_path / "a").read_bytes()


def test_a_file_that_grows_while_it_is_read_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("hello")
    read = content._read

    def read_and_grow(*arguments: object) -> tuple[str, int]:
        found = read(*arguments)  # type: ignore[arg-type]
        with (tmp_path / "a").open("a") as more:
            more.write("!")
        return found

    monkeypatch.setattr(content, "_read", read_and_grow)
    with pytest.raises(Unsteady):
        keep_file(tmp_path / "a", tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_a_link_shares_the_file(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("hello")
    link_file(tmp_path / "kept", tmp_path / "shown")
    assert (tmp_path / "shown").samefile(tmp_path / "kept")
