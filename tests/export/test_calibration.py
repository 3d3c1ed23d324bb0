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


def test_the_shipped_texts_are_many_short_and_long_ones_and_each_is_there_once() -> None:
    texts = read_calibration_texts()
    assert len(texts) == len(set(texts)) == 64
    assert all(text.strip() for text in texts)
    assert texts == read_calibration_texts(None)
    words = sorted(len(text.split()) for text in texts if text.isascii())
    assert words[0] <= 3
    assert words[-1] >= 200


@pytest.mark.parametrize("sample", ["ß", "，", "¿", "😀", "https://", "def ", "SELECT ", "const ", "WARNING"])
def test_the_shipped_texts_cover_many_kinds(sample: str) -> None:
    assert any(sample in text for text in read_calibration_texts())


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("Grüße aus Köln\r\n\n   \n  indented\t\nlast", ["Grüße aus Köln", "  indented\t", "last"]),
        ("a form\x0cfeed and a\u2028separator\nnext", ["a form\x0cfeed and a\u2028separator", "next"]),
        ("\ufefffirst\nsecond\n", ["first", "second"]),  # a byte order mark
    ],
)
def test_own_texts_are_the_lines_that_are_not_blank(file: Path, content: str, texts: list[str]) -> None:
    file.write_bytes(content.encode())
    assert read_calibration_texts(file) == texts


NO_TEXT = r"own\.txt: no text to calibrate with; write one text a line"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        *((blank, NO_TEXT) for blank in (b"", b"\n", b" \n\t\r\n", b"\xef\xbb\xbf\n")),
        ("first\nGrüße\n".encode("latin-1"), r"own\.txt: line 2 is not UTF-8 \(0xfc\); convert the file"),
    ],
)
def test_a_file_without_a_text_or_of_another_encoding_is_refused(file: Path, content: bytes, words: str) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_calibration_texts(file)


def test_what_is_no_file_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match=r"own\.txt: no such file; name a text file"):
        read_calibration_texts(file)
    file.mkdir()
    with pytest.raises(InputError, match=r"own\.txt: a directory; name a text file"):
        read_calibration_texts(file)
    file.rmdir()
    file.write_text("a text")
    with pytest.raises(InputError, match=r"cannot be read \(Not a directory\)"):
        read_calibration_texts(file / "inner.txt")
