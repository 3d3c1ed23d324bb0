"""The texts that int8 is calibrated with: those shipped with the exporter, or the user's own.

Knows nothing of what they are run through.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from jinabert_onnx.errors import InputError


def read_calibration_texts(path: Path | None = None) -> list[str]:
    """Read the shipped texts, or those in the user's own file: UTF-8, one text a line, blank lines skipped.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or holds no text.
    """
    if path is None:
        return _shipped()
    texts = [line for line in _read(path).split("\n") if line.strip()]
    if not texts:
        raise InputError(f"{path}: no text to calibrate with; write one text a line, or leave the file out")
    return [text.removesuffix("\r") for text in texts]


def _shipped() -> list[str]:
    content = resources.files("jinabert_onnx_export").joinpath("data/calibration_texts.json").read_text("utf-8")
    return [str(text) for text in json.loads(content)["texts"]]


def _read(path: Path) -> str:
    """The file's text, without a byte order mark."""
    if path.is_dir():
        raise InputError(f"{path}: a directory; name a text file with one text a line")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; name a text file with one text a line") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a readable text file") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: line {line} is not UTF-8 (0x{error.object[error.start]:02x}); convert the file"
        ) from error
