"""Log what the export is doing, how long it took, and which step failed. Knows nothing of the steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jinabert_onnx.errors import JinaBertError

from .errors import ExportError, OutputError

Log = Callable[[str], None]  # takes a line of progress


class StepLog:
    """Runs named steps; `log` gets a line at each one's start and end."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._done: list[str] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[Log]:
        """Run the block as one step; yield a function that logs progress within it.

        Raises:
            OutputError: the disk is full or cannot be written.
            ExportError: anything that is not one of our errors; names the step and those before it.
        """
        start = time.monotonic()
        self._log(f"{name} ...")
        try:
            yield lambda text: self._log(f"  {text}")
        except JinaBertError:
            raise
        except OSError as error:
            raise OutputError(f"{name} failed: {error.strerror or error}") from error
        except Exception as error:
            after = f", after: {', '.join(self._done)}" if self._done else ""
            reason = " ".join(str(error).split())[:300]
            raise ExportError(f"{name} failed ({type(error).__name__}: {reason}){after}") from error
        self._done.append(name)
        self._log(f"{name}: {time.monotonic() - start:.1f} s")
