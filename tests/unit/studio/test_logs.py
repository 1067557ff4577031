"""Any part of a log, as whole lines; together the parts are the log."""

import io
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.studio import logs


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "WINDOW", 16)


def write(folder: Path, data: bytes) -> BinaryIO:
    (folder / "log.txt").write_bytes(data)
    return io.FileIO(folder / "log.txt")  # type: ignore[return-value]


def test_a_short_log_is_one_window(tmp_path: Path) -> None:
    window = logs.window_at_end(write(tmp_path, b"one\ntwo\n"))
    assert window == logs.Window(start=0, end=8, size=8, text="one\ntwo\n", partial="")


@pytest.mark.usefixtures("small_windows")
def test_the_last_window_begins_with_a_whole_line(tmp_path: Path) -> None:
    window = logs.window_at_end(write(tmp_path, b"first line\nsecond line\nthird\n"))
    assert (window.text, window.start, window.end) == ("third\n", 23, 29)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize(("after", "end"), [(b"end\n", 25), (b"", None)])
def test_a_part_of_a_log_is_all_that_is_seen(tmp_path: Path, after: bytes, end: int | None) -> None:
    file = write(tmp_path, b"before\ninside 1\ninside 2\n" + after)
    part = logs.Part(7, end)
    assert logs.window_at_end(file, part).text == "inside 2\n"
    assert logs.window_before(file, 16, part).text == "inside 1\n"
    assert logs.window_before(file, 7, part).text == ""
    assert logs.window_after(file, 0, part).text == "inside 1\n"
    assert logs.window_after(file, 16, part) == logs.Window(16, 25, 25, "inside 2\n", "")
    assert logs.window_after(file, 25, part).text == ""


@pytest.mark.usefixtures("small_windows")
def test_windows_before_one_another_are_the_whole_log(tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(40))
    file = write(tmp_path, text.encode())
    window = logs.window_at_end(file)
    pieces = [window.text]
    while window.start > 0:
        window = logs.window_before(file, window.start)
        pieces.insert(0, window.text)
    assert "".join(pieces) == text


@pytest.mark.usefixtures("small_windows")
def test_windows_after_one_another_are_the_whole_log(tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(40))
    file = write(tmp_path, text.encode())
    pieces, place = [], 0
    while (window := logs.window_after(file, place)).end > place:
        pieces.append(window.text)
        place = window.end
    assert "".join(pieces) == text


def test_a_line_that_is_being_written_is_shown_and_read_again(tmp_path: Path) -> None:
    window = logs.window_at_end(write(tmp_path, b"whole\nhalf"))
    assert (window.text, window.partial, window.end) == ("whole\n", "half", 6)
    later = logs.window_after(write(tmp_path, b"whole\nhalf is whole\n"), window.end)
    assert (later.text, later.partial) == ("half is whole\n", "")


@pytest.mark.usefixtures("small_windows")
def test_a_line_longer_than_a_window_does_not_stop_the_reading(tmp_path: Path) -> None:
    file = write(tmp_path, b"x" * 40 + b"\nend\n")
    place = 0
    while (window := logs.window_after(file, place)).end > place:
        place = window.end
    assert place == 45


def test_a_log_that_became_shorter_is_read_at_its_end(tmp_path: Path) -> None:
    assert logs.window_after(write(tmp_path, b"new\n"), 1000).start == 4


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x1b[31mred\x1b[0m\n", "red\n"),
        (b"\x1b]0;title\x07text\n", "text\n"),
        (b" 10%\r 50%\r100%\n", "100%\n"),
        (b"dos\r\n", "dos\n"),
        (b"bell\x07 null\x00\n", "bell\N{REPLACEMENT CHARACTER} null\N{REPLACEMENT CHARACTER}\n"),
        ("ü".encode()[:1] + b"\n", "\N{REPLACEMENT CHARACTER}\n"),
        (b"<script>\n", "<script>\n"),
    ],
)
def test_text_is_what_a_terminal_shows_in_the_end(data: bytes, text: str) -> None:
    assert logs.plain_text(data) == text


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_log_makes_a_reader_fail(data: bytes) -> None:
    text = logs.plain_text(data)
    assert not any(ord(sign) < 32 and sign not in "\t\n" for sign in text)
