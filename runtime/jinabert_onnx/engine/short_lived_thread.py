"""Work in a thread that ends with it, while the calling thread does something else. Knows nothing of the work.

No lock and no `threading.Thread` is used: a signal handler that raises inside them would leave a lock held, or lose the
thread.
"""

from __future__ import annotations

import _thread
import contextlib
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from jinabert_onnx.foreign_errors import is_from

_POLL_INTERVAL = 0.1  # seconds between two looks at whether the thread has ended, should it not have woken the caller


def run_in_thread(make: Callable[[], Any], while_running: Callable[[], None]) -> Any:
    """Return or raise what `make` does, called in a thread of its own while `while_running` is called in this one.

    That thread has always ended before this returns or raises, even if signal handlers raise: onnxruntime aborts a
    process that exits while it loads.

    Raises:
        What `make` or `while_running` raises.
    """
    results: list[Any] = []
    errors: list[BaseException] = []
    ended: list[bool] = []
    wakeup: SimpleQueue[None] = SimpleQueue()
    try:
        _start(lambda: _call(make, results, errors, ended, wakeup), ended)
        while_running()
        _wait(ended, wakeup)
    except BaseException:
        try:
            _wait_despite_signals(ended, wakeup)
        finally:
            results.clear()  # else the result lives as long as the error does
        raise
    if errors:
        raise errors[0]
    return results[0]


def _call(
    make: Callable[[], Any],
    results: list[Any],
    errors: list[BaseException],
    ended: list[bool],
    wakeup: SimpleQueue[None],
) -> None:
    try:
        results.append(make())
    except BaseException as error:
        errors.append(error)
    finally:
        ended.append(True)
        wakeup.put(None)


def _start(call: Callable[[], None], ended: list[bool]) -> None:
    try:
        _thread.start_new_thread(call, ())  # one step, which a signal handler cannot interrupt
    except RuntimeError as error:
        if is_from("_thread", error):  # the system allows no more threads
            ended.append(True)
        raise


def _wait(ended: list[bool], wakeup: SimpleQueue[None]) -> None:
    while not ended:
        with contextlib.suppress(Empty):
            wakeup.get(timeout=_POLL_INTERVAL)


def _wait_despite_signals(ended: list[bool], wakeup: SimpleQueue[None]) -> None:
    from_handler: BaseException | None = None
    while not ended:
        try:
            _wait(ended, wakeup)
        except BaseException as error:  # only a signal's handler raises here
            from_handler = error
    if from_handler is not None:
        raise from_handler
