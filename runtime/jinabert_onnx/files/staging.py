"""Directories beside an output in which it is made; what a killed process left of one, the next process removes.

Each holds a file that is locked for as long as its process lives and tells the output's name. Where files cannot be
locked, as on Windows, there is no such file, and nothing is removed. Knows nothing of what is made.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

REPLACED = "replaced"  # where in the directory the former output may wait until the new one is in place
_MARKER = "jinabert-onnx.lock"
_LONGEST_NAME = 4096


@contextmanager
def staging(output: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """A new directory beside `output` for this process alone, gone afterwards.

    `say` is told what was removed before. A directory is kept if it holds the former output and there is no other.

    Raises:
        OSError: it cannot be made.
    """
    _remove_left(output, say)
    stage = Path(tempfile.mkdtemp(prefix=_prefix(output), dir=output.parent))
    lock = None
    try:
        lock = _mark(stage, output)
        yield stage
    finally:
        _clear(stage, output)
        if lock is not None:
            os.close(lock)


def _prefix(output: Path) -> str:
    return f".{output.name}."


def _mark(stage: Path, output: Path) -> int | None:
    """Put the locked file into `stage`; returns its handle, None where files cannot be locked."""
    if fcntl is None:
        return None
    unlocked = stage / f"{_MARKER}.new"
    handle = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(handle, os.fsencode(output.name))
        unlocked.rename(stage / _MARKER)  # only now: under this name nobody finds it unlocked while we live
    except OSError:
        os.close(handle)
        return None
    return handle


def _remove_left(output: Path, say: Callable[[str], None]) -> None:
    removed = []
    with suppress(OSError):  # a directory may be written to and not listed
        for path in sorted(output.parent.iterdir()):
            if path.name.startswith(_prefix(output)) and _remove_if_left(path, output):
                removed.append(path.name)
    if removed:
        say(f"removed what a killed process had left unfinished: {', '.join(removed)}")


def _remove_if_left(directory: Path, output: Path) -> bool:
    """Remove `directory` if it was made here for `output` and its process has ended; whether it is gone."""
    if fcntl is None or directory.is_symlink():
        return False
    try:
        handle = os.open(directory / _MARKER, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.read(handle, _LONGEST_NAME) != os.fsencode(output.name):
            return False
        _clear(directory, output)
    except OSError:
        return False
    finally:
        os.close(handle)
    return not directory.exists()


def _clear(stage: Path, output: Path) -> None:
    """Remove `stage`, the locked file last, unless the former output is nowhere else."""
    if (stage / REPLACED).exists() and not output.exists():
        return
    with suppress(OSError):  # it is gone already
        for path in stage.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(stage, ignore_errors=True)
