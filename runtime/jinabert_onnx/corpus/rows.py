"""One row of a corpus, whatever file it is from: a text, or why there is none. Reads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LARGEST_ROW = 64 << 20  # bytes of a line or a CSV row; what is longer is set aside


@dataclass(frozen=True)
class Row:
    """A row by its number in the corpus, from 0: its text and what is kept beside it, or the reason it is bad."""

    number: int
    text: str
    kept: tuple[Any, ...] = ()
    reason: str | None = None


def bad(number: int, reason: str) -> Row:
    """A row without a text that can be embedded."""
    return Row(number, "", (), reason)


def decoded(number: int, content: bytes, kept: tuple[Any, ...] = ()) -> Row:
    """The row whose text is `content` in UTF-8, or a bad one that says where it is not."""
    try:
        return Row(number, content.decode("utf-8"), kept)
    except UnicodeDecodeError as error:
        return bad(number, f"not UTF-8 (byte {error.start}: 0x{content[error.start]:02x})")


def of_value(number: int, value: object, kept: tuple[Any, ...]) -> Row:
    """The row whose text is `value`, or a bad one that says why it is none."""
    if value is None:
        return bad(number, "the text is null")
    if not isinstance(value, str):
        return bad(number, f"the text is {type(value).__name__}, not text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return bad(number, "the text is not valid Unicode (half of a surrogate pair)")
    return Row(number, value, kept)
