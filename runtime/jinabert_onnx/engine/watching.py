"""Whether the files that a loaded model reads still hold the bytes that it was loaded with. Knows nothing of models.

onnxruntime maps large weights, so what is written into such a file is what it computes with from then on.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from jinabert_onnx.errors import BundleChangedError, BundleError

_PAUSE = 1.0  # seconds between two looks

logger = logging.getLogger("jinabert_onnx")


class WatchedFiles:
    """Files that are held open, so that it is their bytes that are watched and not whatever has their name later.

    They are let go of with the last reference: a look in another thread never meets another file's number. On Windows
    nothing is watched: an open file could not be replaced, and a mapped one cannot be cut short.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        """Remember the files at `paths` as they are now.

        Raises:
            BundleError: one cannot be read.
        """
        self._descriptors: dict[Path, int] = {}
        self._next = time.monotonic() + _PAUSE
        self._changed: Path | None = None
        self._times_noticed = itertools.count()  # threads may look side by side
        for path in paths if sys.platform != "win32" else ():
            try:
                self._descriptors[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise BundleError(f"{path}: cannot be read ({error.strerror}); export the bundle again") from error
        self._seen = {path: _state_of(number) for path, number in self._descriptors.items()}

    def __del__(self) -> None:
        for number in self._descriptors.values():
            with contextlib.suppress(OSError):
                os.close(number)

    def require_unchanged(self) -> None:
        """Return if no file was written to; looks at most once a second, and logs the first time.

        Raises:
            BundleChangedError: one was.
        """
        if self._changed is None and time.monotonic() >= self._next:
            self._next = time.monotonic() + _PAUSE
            self._changed = next((path for path in self._seen if self._is_other(path)), None)
            if self._changed is not None and next(self._times_noticed) == 0:
                logger.error("%s", self._error(self._changed))
        if self._changed is not None:
            raise self._error(self._changed)

    def _is_other(self, path: Path) -> bool:
        return _state_of(self._descriptors[path]) != self._seen[path]

    @staticmethod
    def _error(path: Path) -> BundleChangedError:
        return BundleChangedError(
            f"{path}: changed while a model ran from it, so its vectors can no longer be trusted; load it again, and "
            "replace a bundle by rename, never in place"
        )


def _state_of(descriptor: int) -> tuple[int, int]:
    """Bytes and time of modification; links, owners and permissions change neither."""
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns
