"""An Embedder in many threads, closed, in a `with` statement, after a fork, and what it leaves in its process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from jinabert_onnx import Embedder, SharedThreads, StateError
from jinabert_onnx.engine import session_options
from jinabert_onnx.engine.background import BackgroundCall
from jinabert_onnx.engine.session import Session, SessionLoading, open_session
from jinabert_onnx.engine.session_options import create_session
from support.paths import TRAINED
from support.python import Ended, run_python

TEXTS = [
    "a",
    "How is the weather today?",
    "Wie ist das Wetter heute? " * 9,
    "",
    "列车 🚆",
    "Der Zug hat Verspätung. " * 40,
]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_eight_threads_of_200_calls_give_what_one_gives(precision: str) -> None:
    model = Embedder.load(TRAINED, precision=precision)
    calls = [[TEXTS[i % 6]] if i % 3 else [TEXTS[i % 6], TEXTS[(i * 5 + 1) % 6]] for i in range(200)]
    expected = [model.encode(texts) for texts in calls]
    with ThreadPoolExecutor(8) as pool:
        rounds = list(pool.map(lambda _: [model.encode(texts) for texts in calls], range(8)))
    for results in rounds:
        for vectors, right in zip(results, expected, strict=True):
            np.testing.assert_allclose(vectors, right, rtol=0, atol=1e-5)


def test_a_closed_model_refuses_and_says_so() -> None:
    with Embedder.load(TRAINED) as model:
        assert model.encode("a").shape == (256,)
    for call in (model.encode, model.encode_with_report, model.encode_stream, model.encode_chunks):
        with pytest.raises(StateError, match="closed; load it again"):
            call("a")
    model.close()
    assert model.get_sentence_embedding_dimension() == 256


def test_closing_lets_calls_end_that_run() -> None:
    model = Embedder.load(TRAINED)
    expected = model.encode(TEXTS[5] * 20)
    results: list[np.ndarray] = []
    begun = threading.Event()

    def run() -> None:
        begun.set()
        with contextlib.suppress(StateError):
            results.append(model.encode(TEXTS[5] * 20))

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    try:
        model.close()
    finally:
        thread.join()
    # Either the call had begun to run, or it was refused; it never gives another vector.
    for vector in results:
        np.testing.assert_array_equal(vector, expected)


def test_shared_threads_give_the_same_vectors(variant_bundle: Path) -> None:
    pool = SharedThreads(2)
    models = [Embedder.load(path, threads=pool) for path in (TRAINED, variant_bundle)]
    texts = [text for text in TEXTS if text]
    expected = [Embedder.load(path, threads=2).encode(texts) for path in (TRAINED, variant_bundle)]
    assert [model.threads for model in models] == [2, 2]
    assert models[0].threads_reason == "shared, as asked"
    with ThreadPoolExecutor(8) as executor:
        results = list(executor.map(lambda i: models[i % 2].encode(texts), range(16)))
    for index, vectors in enumerate(results):
        np.testing.assert_allclose(vectors, expected[index % 2], rtol=0, atol=1e-5)


def run_script(script: str, *arguments: object) -> Ended:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    return run_python("-W", "ignore::DeprecationWarning", "-c", script, *arguments, env=environment, timeout=120)


FORK = """
import os, sys, time
from jinabert_onnx import Embedder, StateError

bundle, threads, what, precision = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
model = Embedder.load(bundle, threads=threads, precision=precision)
model.encode(["a", "b c d"])
child = os.fork()
if child == 0:
    try:
        model.encode("a")
    except StateError as error:
        print(error, flush=True)
    if what == "load":
        print(Embedder.load(bundle, threads=threads, precision=precision).encode("a").shape, flush=True)
    sys.exit(7)
end = time.monotonic() + 60
while time.monotonic() < end:
    ended_child, status = os.waitpid(child, os.WNOHANG)
    if ended_child:
        break
    time.sleep(0.02)
else:
    os.kill(child, 9)
    sys.exit("the child hangs")
print(os.waitstatus_to_exitcode(status), model.encode("a").shape)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("what", ["exit", "load"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_after_a_fork_the_child_is_told_to_load_its_own_and_ends(threads: int, what: str, precision: str) -> None:
    result = run_script(FORK, TRAINED, threads, what, precision)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("this model was loaded before the process forked")
    assert lines[1:] == (["(256,)"] if what == "load" else []) + ["7 (256,)"]


FORK_SHARED = """
import os, sys, threading
from jinabert_onnx import Embedder, SharedThreads
from jinabert_onnx.engine.cancellation import Limits

pool = SharedThreads(2)
model = Embedder.load(sys.argv[1], threads=pool)
turn = pool.turn(Limits())
computing = threading.Thread(target=turn.__enter__)
computing.start()
computing.join()
child = os.fork()
if child == 0:
    print(Embedder.load(sys.argv[1], threads=pool).encode("a", timeout=60).shape, flush=True)
    sys.exit(7)
turn.__exit__(None, None, None)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), model.encode("a").shape)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_while_shared_threads_compute_does_not_hold_them_in_the_child() -> None:
    result = run_script(FORK_SHARED, TRAINED)
    assert result.stdout.splitlines() == ["(256,)", "7 (256,)"], result.stderr


def delay_sessions(monkeypatch: pytest.MonkeyPatch, wait: Callable[[], object]) -> None:
    """Let every session wait before it is made."""
    make = session_options._create

    def create(*arguments: object) -> object:
        wait()
        return make(*arguments)

    monkeypatch.setattr(session_options, "_create", create)


def test_the_caller_goes_on_while_a_session_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, threads = threading.Event(), []
    delay_sessions(
        monkeypatch,
        lambda: threads.append(threading.get_ident()) or begun.wait(60) or pytest.fail("the caller waited"),
    )

    with SessionLoading(TRAINED / "onnx" / "model.onnx", "fp32", "cpu", 1) as loading:
        begun.set()
        session = Session(loading)
    assert len(threads) == 1
    assert threads != [threading.get_ident()]
    session.require_usable()


@pytest.mark.parametrize("error", [IndexError, KeyboardInterrupt])
def test_an_error_while_a_session_is_made_is_raised_once_that_has_ended(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    delay_sessions(monkeypatch, lambda: time.sleep(0.3))
    threads = threading.active_count()

    ended = threading.Event()
    make = session_options._create
    monkeypatch.setattr(session_options, "_create", lambda *arguments: (make(*arguments), ended.set())[0])
    with pytest.raises(error), SessionLoading(TRAINED / "onnx" / "model.onnx", "fp32", "cpu", 1):
        raise error
    assert ended.is_set()
    assert threading.active_count() == threads


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends the process instead of interrupting it")
def test_two_interrupts_wait_until_a_session_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = threading.Event()

    def interrupt_twice() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        made.set()

    delay_sessions(monkeypatch, interrupt_twice)
    with pytest.raises(KeyboardInterrupt):
        open_session(TRAINED / "onnx" / "model.onnx", "fp32", "cpu", 1)
    assert made.is_set()


def test_the_block_begins_where_native_work_starts() -> None:
    order = []

    def load(start: Callable[[], None]) -> str:
        order.append("preparation")
        start()
        return "loaded"

    with BackgroundCall(load) as loading:
        order.append("block")
        assert loading.result() == "loaded"
    assert order == ["preparation", "block"]


def test_the_block_begins_though_the_call_fails_before_its_native_work() -> None:
    def fail(start: Callable[[], None]) -> str:
        raise OSError("no such file")

    with BackgroundCall(fail) as loading, pytest.raises(OSError, match="no such file"):
        loading.result()


def test_idle_threads_soon_sleep() -> None:
    path = TRAINED / "onnx" / "model.onnx"
    with BackgroundCall(lambda start: create_session(onnxruntime, path, "fp32", 2, ["cpu"], None, start)) as loading:
        session = loading.result().session

    spinning = session.get_session_options().get_session_config_entry("session.intra_op.spin_duration_us")

    assert int(spinning) <= 100


CALLS = """
import os, sys
import numpy as np
os.environ.update({name: value for name, _, value in (setting.partition("=") for setting in sys.argv[2:])})
called = []

def note(frame, event, function):
    if event == "c_call" and "telemetry" in function.__name__:
        called.append(function.__name__)

sys.setprofile(note)
from jinabert_onnx import Embedder
Embedder.load(sys.argv[1], threads=2).encode("How is the weather today?")
sys.setprofile(None)
print(bool((np.full(4, 1e-40, np.float32) * np.float32(0.5)).all()))  # numpy still knows denormal floats
print(os.environ["ORT_DISABLE_TELEMETRY"], *sorted(set(called)))
"""


@pytest.mark.parametrize("set_to", ["", "1", "yes", "0", "false", "off"])
def test_a_model_is_a_quiet_guest_in_its_process_and_leaves_telemetry_to_who_decides(set_to: str) -> None:
    result = run_script(CALLS, TRAINED, *([f"ORT_DISABLE_TELEMETRY={set_to}"] if set_to else []))
    calls = [] if set_to in ("0", "false", "off") else ["disable_telemetry_events"]
    assert result.stdout.split() == ["True", set_to or "1", *calls], result.stderr
