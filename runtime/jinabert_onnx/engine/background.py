"""One call in a thread of its own, while the caller does something else. Knows nothing of what is called.

What a signal's handler raises meanwhile waits until that call has ended, and so does what a second one raises: a
process that ends while onnxruntime loads is aborted by it.
"""

from __future__ import annotations

import _thread
import contextlib
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from jinabert_onnx.foreign_errors import is_from

_LOOK = 0.1  # seconds between two looks at whether a thread has ended that could not say so

Result = TypeVar("Result")


class BackgroundCall(Generic[Result]):
    """Call a function in a thread that ends with it.

    with BackgroundCall(load) as loading:
        ...  # beside it
        loaded = loading.result()

    The function gets another, `start`, to call where its native work starts. The block begins then, or after a tenth of
    a second: else it might keep the interpreter from the function. It is not left before the call has ended, whatever
    is raised in it.
    """

    def __init__(self, function: Callable[[Callable[[], None]], Result]) -> None:
        self._function = function
        self._results: list[Result] = []
        self._errors: list[BaseException] = []
        self._ended: list[bool] = []
        # Bells, for a handler that raises inside an Event would leave its lock.
        self._started: SimpleQueue[None] = SimpleQueue()
        self._bell: SimpleQueue[None] = SimpleQueue()

    def __enter__(self) -> BackgroundCall[Result]:
        try:
            self._start()
            with contextlib.suppress(Empty):
                self._started.get(timeout=_LOOK)
        except BaseException:
            self._abandon()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        if kind is not None or not self._ended:
            self._abandon()

    def result(self) -> Result:
        """Wait for the end of the call, and return or raise what it did. To be called once, in the block."""
        self._wait()
        if self._errors:
            raise self._errors[0]
        return self._results.pop()

    def _start(self) -> None:
        try:
            _thread.start_new_thread(self._call, ())  # one step; a handler may make Thread.start lose the thread
        except RuntimeError as error:
            if is_from("_thread", error):  # the system has no thread to give
                self._ended.append(True)
            raise

    def _call(self) -> None:
        try:
            self._results.append(self._function(lambda: self._started.put(None)))
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._ended.append(True)
            self._started.put(None)
            self._bell.put(None)

    def _wait(self) -> None:
        while not self._ended:
            with contextlib.suppress(Empty):
                self._bell.get(timeout=_LOOK)

    def _abandon(self) -> None:
        """Wait in any case, and let go of the result, which else would live as long as the error that is raised."""
        later: BaseException | None = None
        try:
            while not self._ended:
                try:
                    self._wait()
                except BaseException as error:  # only a signal's handler raises here
                    later = error
        finally:
            self._results.clear()
        if later is not None:
            raise later
