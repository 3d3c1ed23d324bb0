"""A call can be ended from another thread or by its own deadline, and the Embedder goes on."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from jinabert_onnx import (
    Cancellation,
    CancelledError,
    DeadlineError,
    Embedder,
    InputError,
    InputTypeError,
    JinaBertError,
    SharedThreads,
)
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.engine.memory_model import memory_model
from support.live_server import wait_for
from support.paths import TRAINED

LONG = "Der Zug nach Berlin hat Verspätung. " * 600  # thousands of tokens: seconds of work
SHORT = "How is the weather today?"


def cancel_soon(cancellation: Cancellation, seconds: float = 0.3) -> None:
    threading.Timer(seconds, cancellation.cancel).start()


@pytest.mark.parametrize(
    ("texts", "seconds"),
    [([LONG] * 20, 0.3), (LONG.split(". ") * 100, 0.3), (LONG, 0.1)],
    ids=["long texts", "many texts", "in the middle of one text"],
)
def test_a_call_ends_when_it_is_cancelled_or_its_time_is_up_and_the_model_goes_on(
    model: Embedder, texts: str | list[str], seconds: float, capfd: pytest.CaptureFixture
) -> None:
    before = model.encode(SHORT)
    with pytest.raises(TimeoutError, match=rf"not done within {seconds} seconds") as late:
        model.encode(texts, timeout=seconds)
    assert isinstance(late.value, DeadlineError)
    cancellation = Cancellation()
    cancel_soon(cancellation, seconds)
    with pytest.raises(RuntimeError, match="was cancelled") as cancelled:
        model.encode(texts, cancellation=cancellation)
    assert isinstance(cancelled.value, CancelledError)
    np.testing.assert_array_equal(model.encode(SHORT), before)
    assert capfd.readouterr() == ("", "")


def test_a_cancellation_ends_later_calls_before_they_begin(model: Embedder) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    cancellation.cancel()
    assert cancellation.cancelled
    with pytest.raises(CancelledError):
        model.encode(SHORT, cancellation=cancellation)


def test_one_cancellation_ends_all_its_calls_and_no_other(model: Embedder) -> None:
    cancellation, errors, others = Cancellation(), [], []

    def run(given: Cancellation | None) -> None:
        try:
            others.append(model.encode([LONG] * (20 if given else 1), cancellation=given))
        except JinaBertError as error:
            errors.append(type(error))

    threads = [threading.Thread(target=run, args=(given,)) for given in (cancellation, cancellation, None)]
    for thread in threads:
        thread.start()
    cancel_soon(cancellation)
    for thread in threads:
        thread.join()
    assert errors == [CancelledError] * 2
    assert len(others) == 1


def test_a_call_that_is_done_in_time_is_not_ended(model: Embedder) -> None:
    expected = model.encode(SHORT)
    np.testing.assert_array_equal(model.encode(SHORT, timeout=600, cancellation=Cancellation()), expected)


def test_streams_and_chunks_end_too(model: Embedder) -> None:
    with pytest.raises(DeadlineError):
        list(model.encode_stream([LONG] * 20, timeout=0.3))
    with pytest.raises(DeadlineError):
        model.encode_chunks(LONG, timeout=0.1)


def test_waiting_for_shared_threads_ends_too() -> None:
    pool = SharedThreads(1)
    first, second = (Embedder.load(TRAINED, threads=pool) for _ in range(2))
    busy = threading.Thread(target=first.encode, args=([LONG],))
    turn = pool.turn(Limits())
    with ThreadPoolExecutor(1) as computing:
        computing.submit(turn.__enter__).result()
        busy.start()
        with pytest.raises(DeadlineError):
            second.encode(SHORT, timeout=0.2)
        turn.__exit__(None, None, None)
    busy.join()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"timeout": 0}, InputError, "timeout is 0; it must be above 0"),
        ({"timeout": -1.5}, InputError, "timeout is -1.5"),
        ({"timeout": float("nan")}, InputError, "timeout is nan"),
        ({"timeout": "5"}, InputTypeError, "timeout is str"),
        ({"cancellation": threading.Event()}, InputTypeError, "cancellation is Event, not a Cancellation"),
    ],
)
def test_impossible_limits_are_refused(model: Embedder, arguments: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        model.encode(SHORT, **arguments)


def test_no_threads_are_left_behind_by_deadlines(model: Embedder) -> None:
    before = threading.active_count()
    for _ in range(20):
        model.encode(SHORT, timeout=600)
    wait_for(lambda: threading.active_count() <= before)
    assert threading.active_count() == before


@pytest.mark.parametrize("timeout", [float("inf"), 1e12, np.float32(600), 10**400])
def test_any_positive_number_is_a_timeout(model: Embedder, timeout: float, capfd: pytest.CaptureFixture) -> None:
    assert model.encode(SHORT, timeout=timeout).shape == (256,)
    assert capfd.readouterr() == ("", "")


def test_a_large_batch_is_not_kept_waiting_by_small_ones() -> None:
    limit = memory_model(open_bundle(TRAINED).manifest, "fp32").settled().peak([4000]) + 1_000_000
    model = Embedder.load(TRAINED, max_memory=limit, threads=1)
    done = threading.Event()

    def small() -> None:
        while not done.is_set():
            model.encode("Der Zug nach Berlin hat Verspätung. " * 12)

    threads = [threading.Thread(target=small) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert model.encode("a " * 3900, timeout=120).shape == (256,)
    finally:
        done.set()
        for thread in threads:
            thread.join()
