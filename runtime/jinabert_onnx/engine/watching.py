"""Notices when the files that a loaded model reads are changed. Knows nothing of models.

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
from jinabert_onnx.foreign_errors import is_from_reading

_CHECK_INTERVAL = 1.0  # seconds between two checks

logger = logging.getLogger("jinabert_onnx")


class WatchedFiles:
    """Files that are held open, so that their bytes are watched and not those of a file that gets their name later.

    They are closed with the last reference to this object, so no thread ever checks a descriptor that is another file's
    by then. On Windows nothing is watched: an open file could not be replaced, and a mapped one cannot be cut short.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        """Remember the files at `paths` as they are now.

        Raises:
            BundleError: one cannot be read.
        """
        self._descriptors: dict[Path, int] = {}
        self._next_check = time.monotonic() + _CHECK_INTERVAL
        self._changed: Path | None = None
        self._times_noticed = itertools.count()  # threads may check at the same time
        for path in paths if sys.platform != "win32" else ():
            try:
                self._descriptors[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                if not is_from_reading(error):
                    raise
                raise BundleError(f"{path}: cannot be read ({error.strerror}); export the bundle again") from error
        self._states = {path: _state_of(descriptor) for path, descriptor in self._descriptors.items()}

    def __del__(self) -> None:
        for descriptor in self._descriptors.values():
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def require_unchanged(self) -> None:
        """Return if no file was written to; checks at most once a second.

        Raises:
            BundleChangedError: one was; logged the first time.
        """
        if self._changed is None and time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + _CHECK_INTERVAL
            states = self._states.items()
            self._changed = next((path for path, state in states if _state_of(self._descriptors[path]) != state), None)
            if self._changed is not None and next(self._times_noticed) == 0:
                logger.error("%s", self._error(self._changed))
        if self._changed is not None:
            raise self._error(self._changed)

    @staticmethod
    def _error(path: Path) -> BundleChangedError:
        return BundleChangedError(
            f"{path}: changed while a model ran from it, so its vectors can no longer be trusted; load it again, and "
            "replace a bundle by rename, never in place"
        )


def _state_of(descriptor: int) -> tuple[int, int]:
    """Return size and time of modification; changes of links, owners and permissions leave both."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns
