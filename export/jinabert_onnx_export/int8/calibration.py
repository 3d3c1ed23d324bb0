"""The texts or pairs that int8 is calibrated with: those shipped with the exporter, or the user's own.

Knows nothing of what they are run through.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from jinabert_onnx.errors import InputError
from jinabert_onnx.text.pairs import TextOrPair

_QUERY = 60  # characters at a text's beginning that stand for a query


def read_calibration_texts(path: Path | None = None) -> list[str]:
    """Read the shipped texts, or those in the user's own file: UTF-8, one text per line, blank lines skipped.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or holds no text.
    """
    if path is None:
        return _shipped()
    texts = [line for line in _read(path).split("\n") if line.strip()]
    if not texts:
        raise InputError(f"{path}: no text to calibrate with; write one text per line, or leave the file out")
    return [text.removesuffix("\r") for text in texts]


def read_calibration_pairs(path: Path | None = None) -> list[TextOrPair]:
    """Read what a cross-encoder is calibrated with: pairs, and single texts.

    In the user's own file a tab separates the texts of a pair. Of the shipped texts, each beginning is a query, to
    which in turn the text itself and the one after it is the document.

    Raises:
        InputError: as `read_calibration_texts`.
    """
    texts = read_calibration_texts(path)
    if path is not None:
        return [_split(text) for text in texts]
    return [(text[:_QUERY], texts[(index + index % 2) % len(texts)]) for index, text in enumerate(texts)]


def _split(line: str) -> TextOrPair:
    first, tab, second = line.partition("\t")
    return (first, second) if tab else line


def _shipped() -> list[str]:
    content = resources.files("jinabert_onnx_export").joinpath("data/calibration_texts.json").read_text("utf-8")
    return [str(text) for text in json.loads(content)["texts"]]


def _read(path: Path) -> str:
    """The file's text, without a byte order mark."""
    if path.is_dir():
        raise InputError(f"{path}: a directory; name a text file with one text per line")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; name a text file with one text per line") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a readable text file") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: line {line} is not UTF-8 (0x{error.object[error.start]:02x}); convert the file"
        ) from error
