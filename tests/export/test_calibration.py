"""The texts that int8 is calibrated with: shipped ones that cover much, and the user's own, read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinabert_onnx import InputError
from jinabert_onnx_export.int8.calibration import read_calibration_texts


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A place for the user's own texts; its name says nothing of the test."""
    return tmp_path / "own.txt"


def test_the_shipped_texts_are_many_and_each_is_there_once() -> None:
    texts = read_calibration_texts()
    assert len(texts) == len(set(texts)) == 64
    assert all(text.strip() for text in texts)


def test_the_shipped_texts_are_the_same_at_every_call() -> None:
    assert read_calibration_texts() == read_calibration_texts(None)


def test_the_shipped_texts_are_short_and_long() -> None:
    words = sorted(len(text.split()) for text in read_calibration_texts() if text.isascii())
    assert words[0] <= 3
    assert words[-1] >= 200


@pytest.mark.parametrize("sample", ["ß", "，", "¿", "😀", "https://", "def ", "SELECT ", "const ", "WARNING"])
def test_the_shipped_texts_cover_many_kinds(sample: str) -> None:
    assert any(sample in text for text in read_calibration_texts())


def test_own_texts_are_the_lines_that_are_not_blank(file: Path) -> None:
    file.write_bytes("Grüße aus Köln\r\n\n   \n  indented\t\nlast".encode())
    assert read_calibration_texts(file) == ["Grüße aus Köln", "  indented\t", "last"]


def test_only_line_feeds_end_a_text(file: Path) -> None:
    file.write_bytes("a form\x0cfeed and a\u2028separator\nnext".encode())
    assert read_calibration_texts(file) == ["a form\x0cfeed and a\u2028separator", "next"]


def test_a_byte_order_mark_is_no_part_of_the_first_text(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbffirst\nsecond\n")
    assert read_calibration_texts(file) == ["first", "second"]


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\t\r\n", b"\xef\xbb\xbf\n"])
def test_a_file_without_a_text_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"own\.txt: no text to calibrate with; write one text a line"):
        read_calibration_texts(file)


def test_a_missing_file_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match=r"own\.txt: no such file; name a text file"):
        read_calibration_texts(file)


def test_a_directory_is_refused(file: Path) -> None:
    file.mkdir()
    with pytest.raises(InputError, match=r"own\.txt: a directory; name a text file"):
        read_calibration_texts(file)


def test_a_path_through_a_file_is_refused(file: Path) -> None:
    file.write_text("a text")
    with pytest.raises(InputError, match=r"cannot be read \(Not a directory\)"):
        read_calibration_texts(file / "inner.txt")


def test_another_encoding_is_refused_by_line(file: Path) -> None:
    file.write_bytes("first\nGrüße\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"own\.txt: line 2 is not UTF-8 \(0xfc\); convert the file"):
        read_calibration_texts(file)
