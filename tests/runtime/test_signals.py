"""What a signal's handler raises comes out of a call as it is, and leaves the model usable.

Timeouts by signal, such as Celery's, raise their own exception at any moment of a call.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from itertools import count, takewhile
from types import FrameType

import numpy as np
import pytest
from jinabert_onnx import Cancellation, Embedder, SharedThreads
from jinabert_onnx.engine.cancellation import Limits
from support.paths import BUNDLES

if not hasattr(signal, "setitimer"):
    pytest.skip("this system has no timers that send signals", allow_module_level=True)

# Python itself forgets to close a file that it opens at the moment of the signal.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

BUNDLE = BUNDLES / "plain-4h"
TEXTS = ["How is the weather today?", "Wie ist das Wetter heute? " * 9, "Der Zug hat Verspätung. " * 40] * 3


class TimeIsUpError(Exception):
    """What a task queue raises in a task that takes too long."""


@pytest.fixture(params=[TimeIsUpError, Exception, RuntimeError, TimeoutError, ValueError])
def raised(request: pytest.FixtureRequest) -> Iterator[type[Exception]]:
    """The class that SIGALRM raises while the test runs."""
    kind: type[Exception] = request.param

    def handle(number: int, frame: object) -> None:
        raise kind("the time is up")

    before = signal.signal(signal.SIGALRM, handle)
    yield kind
    signal.signal(signal.SIGALRM, before)


def interrupt(call: Callable[[], object], times: int) -> list[type[Exception] | None]:
    """What `call` raised with a signal at so many moments, spread over the time that it takes; None where nothing."""
    call()
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    return [_outcome(call, seconds * (number + 1) / times) for number in range(times)]


def _outcome(call: Callable[[], object], delay: float) -> type[Exception] | None:
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        call()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Exception as error:
        return type(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # also where the call itself failed, before its time was up
    return None


def test_an_interrupted_encode_raises_what_the_handler_did(raised: type[Exception]) -> None:
    model = Embedder.load(BUNDLE, provider="cpu", threads=SharedThreads(1), max_memory="2GB")
    expected = model.encode(TEXTS)
    outcomes = interrupt(lambda: model.encode(TEXTS), 100)
    assert raised in outcomes
    assert set(outcomes) <= {raised, None}
    np.testing.assert_array_equal(model.encode(TEXTS, timeout=60), expected)


def test_an_interrupted_load_raises_what_the_handler_did(raised: type[Exception]) -> None:
    outcomes = interrupt(lambda: Embedder.load(BUNDLE, provider="cpu", threads=1).close(), 50)
    assert raised in outcomes
    assert set(outcomes) <= {raised, None}


@contextlib.contextmanager
def signal_in_numpy(moment: int) -> Iterator[None]:
    """Send SIGALRM before the so many'th line of numpy's Python code runs."""
    left = [moment]

    def look(frame: FrameType, event: str, argument: object) -> object:
        if not frame.f_globals.get("__name__", "").startswith("numpy."):
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == -1:
                signal.raise_signal(signal.SIGALRM)
        return look

    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(None)


@pytest.mark.parametrize("raised", [TimeIsUpError], indirect=True)
def test_a_load_interrupted_within_numpy_raises_what_the_handler_did(raised: type[Exception]) -> None:
    Embedder.load(BUNDLE, provider="cpu", threads=1).close()  # importing modules for the first time is not meant

    def is_interrupted(moment: int) -> bool:
        try:
            with signal_in_numpy(moment):
                Embedder.load(BUNDLE, provider="cpu", threads=1).close()
        except raised:
            return True
        return False

    assert len(list(takewhile(is_interrupted, count()))) > 20


@contextlib.contextmanager
def signal_in_contextlib(moment: int) -> Iterator[None]:
    """Send SIGALRM as contextlib enters or leaves a context for the so many'th time: on return, or on call."""
    left = [moment]

    def look(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if code.co_filename == contextlib.__file__ and (event, code.co_name) in (
            ("return", "__enter__"),
            ("call", "__exit__"),
        ):
            left[0] -= 1
            if left[0] == -1:
                signal.raise_signal(signal.SIGALRM)

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)


def test_a_retry_while_the_exception_is_handled_does_not_wait_for_the_call_before(raised: type[Exception]) -> None:
    model = Embedder.load(BUNDLE, provider="cpu", threads=SharedThreads(1), max_memory="2GB")
    expected = model.encode(TEXTS[:1])

    def is_interrupted_and_goes_on(moment: int) -> bool:
        try:
            with signal_in_contextlib(moment):
                model.encode(TEXTS[:1])
        except raised:
            np.testing.assert_array_equal(model.encode(TEXTS[:1], timeout=5), expected)
            return True
        return False

    assert len(list(takewhile(is_interrupted_and_goes_on, count()))) > 4


class SlowOptions:
    """Options of a run that take their time to be told of its end."""

    def __init__(self) -> None:
        self.told, self.released = threading.Event(), threading.Event()

    @property
    def terminate(self) -> bool:
        return False

    @terminate.setter
    def terminate(self, value: bool) -> None:
        self.told.set()
        self.released.wait(10)


def test_a_call_that_is_interrupted_as_it_ends_is_forgotten_by_its_cancellation(raised: type[Exception]) -> None:
    cancellation, options = Cancellation(), SlowOptions()
    told, released = options.told, options.released
    left = weakref.ref(options)
    cancelling = threading.Thread(target=cancellation.cancel)
    with contextlib.suppress(raised), cancellation.ending(options):
        cancelling.start()
        told.wait()
        signal.setitimer(signal.ITIMER_REAL, 0.2)
    signal.setitimer(signal.ITIMER_REAL, 0)
    released.set()
    cancelling.join()
    del options
    assert left() is None


def test_a_timer_that_is_interrupted_as_it_starts_is_ended(raised: type[Exception]) -> None:
    before = set(threading.enumerate())

    def look(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code is threading.Thread.start.__code__ and event == "return":
            signal.raise_signal(signal.SIGALRM)

    sys.setprofile(look)
    with pytest.raises(raised, match="the time is up"), Limits(timeout=600).ending(SlowOptions()):
        pass
    sys.setprofile(None)
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before
