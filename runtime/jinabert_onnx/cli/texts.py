"""Texts that a command is given: as arguments, or the lines of a file or of stdin."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jinabert_onnx.errors import InputError


def read_texts(texts: Sequence[str], source: str | None) -> list[str]:
    """Return `texts`, or if there are none, the lines of the file `source`, UTF-8; "-" and None are stdin.

    Raises:
        InputError: both are given, or neither and stdin is a terminal, or a line is not UTF-8.
    """
    if texts and source is not None:
        raise InputError("give texts or --input, not both")
    if texts:
        return list(texts)
    if source is None and sys.stdin.isatty():
        raise InputError("no texts; give some, or --input FILE, or --input - to type them")
    name = "-" if source is None else source
    content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    return _lines(content, "stdin" if name == "-" else name)


def _lines(content: bytes, name: str) -> list[str]:
    """Return the lines of UTF-8 text, without their ends and a byte order mark; only line feeds end a line."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    texts = []
    for number, line in enumerate(lines, start=1):
        try:
            texts.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name}: line {number} is not UTF-8 (byte {error.start}: 0x{line[error.start]:02x}); convert the file"
            ) from error
    return texts
