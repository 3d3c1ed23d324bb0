"""Files and directories that appear whole or not at all. Knows nothing of what is in them.

Each is made under a temporary name beside its place, `.NAME.` and random letters, and renamed when it is complete.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jinabert_onnx.errors import InputError

from .permissions import give_usual_permissions


@contextmanager
def atomic_file(
    path: Path, *, overwrite: bool = True, durable: bool = False, private: bool = False
) -> Iterator[BinaryIO]:
    """Open a stream whose content becomes the file `path` once the block has ended without an error.

    Args:
        path: where the file appears; its directory must exist.
        overwrite: whether a file that is there already is replaced.
        durable: whether the content is on the disk before the file appears, so that it survives a power failure.
        private: whether only the owner may read and write the file, instead of the permissions of a new file.

    Raises:
        InputError: `path` exists and is not to be overwritten.
        OSError: it cannot be written; nothing is left, and a former file stands.
    """
    _require_absent(path, overwrite)
    with _errors_naming(path):
        descriptor, name = tempfile.mkstemp(prefix=_temporary_prefix(path), dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            if not private:
                give_usual_permissions(temporary)
            _require_absent(path, overwrite)  # again: it may have appeared while the block ran
            (temporary.replace if overwrite else temporary.rename)(path)
        except BaseException:
            temporary.unlink(missing_ok=True)  # it may have been renamed already
            raise


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Make a directory that becomes the new directory `path` once the block has ended without an error.

    Raises:
        InputError: `path` exists already.
        OSError: it cannot be written; nothing is left.
    """
    _require_absent(path)
    with _errors_naming(path):
        temporary = Path(tempfile.mkdtemp(prefix=_temporary_prefix(path), dir=path.parent))
        try:
            yield temporary
            give_usual_permissions(temporary)
            _require_absent(path)  # as above
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def _require_absent(path: Path, overwrite: bool = False) -> None:
    if not overwrite and (path.exists() or path.is_symlink()):
        raise InputError(f"{path}: exists already; remove it, or give another name")


def _temporary_prefix(path: Path) -> str:
    return f".{path.name}."


@contextmanager
def _errors_naming(path: Path) -> Iterator[None]:
    """Make the system's errors of writing name `path`: a full disk names no file, and a temporary name helps nobody."""
    try:
        yield
    except OSError as error:
        temporary = str(path.parent / _temporary_prefix(path))
        if error.errno is not None and (error.filename is None or str(error.filename).startswith(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
