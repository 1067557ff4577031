"""Data sets: the same content is one version and kept once."""

import os
from pathlib import Path

import pytest

from envbuild import Workspace
from envbuild.builder import atomic
from envbuild.builder.report import Silent
from envbuild.errors import InputError, NotFound
from envbuild.trainer.data import DataVersion, list_data, list_files, load_data, put_data, remove_data
from envbuild.trainer.run import create_run, update_run
from envbuild.trainer.supervision import process_start


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "numbers"
    (folder / "train").mkdir(parents=True)
    (folder / "train/a.bin").write_bytes(b"a" * 1000)
    (folder / "train/b.bin").write_bytes(b"a" * 1000)
    (folder / "labels.txt").write_text("1 2 3")
    return folder


def put(source: Path, name: str = "numbers") -> tuple[DataVersion, bool]:
    return put_data(source, name, source.parent / "home", Silent())


def test_what_is_put_is_shown_and_kept_once(source: Path) -> None:
    data, new = put(source)
    assert (data.reference, data.files, data.size, new) == ("numbers:1", 3, 2005, True)
    assert (data.content / "labels.txt").read_text() == "1 2 3"
    assert os.path.samefile(data.content / "train/a.bin", data.content / "train/b.bin")
    assert [file["path"] for file in list_files(data)] == ["labels.txt", "train/a.bin", "train/b.bin"]
    assert len(list((source.parent / "home/data/files").iterdir())) == 2


def test_the_same_content_is_the_same_version_and_a_change_the_next(source: Path) -> None:
    first, _ = put(source)
    os.utime(source / "labels.txt", (1, 1))
    assert put(source) == (first, False)
    (source / "labels.txt").write_text("1 2 4")
    second, new = put(source)
    assert (second.version, new) == (2, True)
    assert (first.content / "labels.txt").read_text() == "1 2 3"
    assert load_data(source.parent / "home", "numbers").version == 2
    assert load_data(source.parent / "home", "numbers:1") == first


def test_what_is_changed_later_in_the_source_changes_nothing_here(source: Path) -> None:
    data, _ = put(source)
    with (source / "labels.txt").open("r+") as file:
        file.write("9")
    assert (data.content / "labels.txt").read_text() == "1 2 3"


def test_removing_frees_what_no_other_version_has(source: Path) -> None:
    home = source.parent / "home"
    first, _ = put(source)
    (source / "labels.txt").write_text("other")
    put(source)
    assert remove_data(first, home) == 5
    assert [data.version for data in list_data(home)] == [2]
    assert remove_data(load_data(home, "numbers"), home) == 1005
    assert list(home.glob("data/files/*")) == list(home.glob("data/sets/*")) == []


def test_what_a_datastore_shows_is_kept_once_and_frees_nothing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = source.parent / "home"
    monkeypatch.setenv("ENVBUILD_HOME", str(home))
    Workspace.create("mine").get_default_datastore().upload_file(source / "train/a.bin", show_progress=False)
    (shown,) = home.glob("data/stores/*/a.bin")
    data, _ = put(source)
    assert remove_data(data, home) == 5  # labels.txt
    (content,) = home.glob("data/files/*")
    assert content.samefile(shown)


def test_what_a_running_run_uses_is_not_removed(source: Path) -> None:
    home = source.parent / "home"
    data, _ = put(source)
    process = {"pid": os.getpid(), "start": process_start(os.getpid())}
    run = create_run(home, "digits", {"process": process, "data": {"numbers": {"digest": data.digest}}})
    with pytest.raises(InputError, match="is Queued and uses numbers:1"):
        remove_data(data, home)
    update_run(run, state="Completed")
    remove_data(data, home)


def test_a_single_file_is_a_data_set_too(source: Path) -> None:
    data, _ = put(source / "labels.txt", "labels")
    assert [file["path"] for file in list_files(data)] == ["labels.txt"]


@pytest.mark.parametrize("name", ["", "a b", "../x", "1st", "a-b", "a/b"])
def test_a_name_must_fit_into_braces(source: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot name a data set"):
        put(source, name)


def test_what_is_no_file_is_refused(source: Path) -> None:
    os.mkfifo(source / "pipe")
    with pytest.raises(InputError, match="is no plain file"):
        put(source)
    (source / "pipe").unlink()
    (source / "link").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="is a link that leaves"):
        put(source)
    (source / "link").unlink()
    (source / "link").symlink_to("train")
    with pytest.raises(InputError, match="is a link to a folder"):
        put(source)


def test_an_unknown_name_or_version_says_what_there_is(source: Path) -> None:
    home = source.parent / "home"
    with pytest.raises(NotFound, match="none is kept yet: envbuild data put"):
        load_data(home, "numbers")
    put(source)
    with pytest.raises(NotFound, match=r"did you mean numbers\?"):
        load_data(home, "nunbers")
    with pytest.raises(NotFound, match="has no version '7'; it has 1"):
        load_data(home, "numbers:7")


def test_a_folder_that_cannot_be_read_is_not_left_out_in_silence(source: Path) -> None:
    """Root may read everything, but no path longer than 4096 bytes."""
    place = os.open(source, os.O_RDONLY)
    for _ in range(100):
        os.mkdir("d" * 50, dir_fd=place)
        inner = os.open("d" * 50, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        put(source)
    atomic.remove_tree(source)  # pytest could not
