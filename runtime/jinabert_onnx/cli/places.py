"""Where a command reads from and writes to: refused before the work, and written whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jinabert_onnx.errors import InputError
from jinabert_onnx.files.atomic import atomic_file


def check_places(source: str | None, output: str | None) -> None:
    """Refuse before all else what would fail, or destroy the input, after the work.

    Raises:
        InputError: the output's place is none for a file.
        OSError: there is no input.
    """
    if source == "":
        raise InputError("--input is empty; give the name of a file, or - for stdin")
    if source not in (None, "-"):
        Path(source).stat()
    if output is None:
        return
    path = Path(output)
    if path.is_dir():
        raise InputError(f"{output}: is a directory; give the name of a file")
    if not path.resolve().parent.is_dir():
        raise InputError(f"{output}: there is no directory {path.resolve().parent}")
    if source not in (None, "-") and path.exists() and path.samefile(source):
        raise InputError(f"{output}: is also the input, and would be overwritten; give another --output")


@contextmanager
def open_output(output: str | None) -> Iterator[BinaryIO]:
    """Open stdout, or a file that appears at `output` only when it has been written whole."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(output).resolve()  # a link is followed, not replaced
    try:
        if path.exists() and not path.is_file():  # a device or a pipe cannot be replaced
            with path.open("wb") as stream:
                yield stream
            return
        with atomic_file(path) as stream:
            yield stream
    except OSError as error:
        raise OSError(error.errno, error.strerror, output) from error  # a full disk names no file
