"""Requests of many clients, merged: the same vectors as alone, nobody stuck behind a long text, none lost."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import random
import signal
import threading

import httpx
import numpy as np
import pytest
from conftest import Start
from jinabert_onnx import Embedder
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.http.served import serve_as
from jinabert_onnx.http.work import Work
from jinabert_onnx.server.metrics import Metrics
from jinabert_onnx.server.scheduler import Scheduler
from support.live_server import LiveServer, wait_for
from support.paths import CHECKPOINT

SENTENCES = [entry["text"] for entry in json.loads((CHECKPOINT / "heldout.json").read_text("utf-8"))["sentences"]]
LONG = "the house at the river " * 1200


def test_merged_requests_get_what_encode_gives_alone(server: LiveServer, model: Embedder) -> None:
    drawn = random.Random(0)
    texts = [drawn.choice([SENTENCES[i], SENTENCES[i] * drawn.randint(1, 40)]) for i in range(96)]
    expected = {text: model.encode(text, normalize_embeddings=True) for text in texts}
    batches = server.metric("jinabert_onnx_batch_rows_count")

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda text: server.embed(input=text), texts))

    for text, answer in zip(texts, answers, strict=True):
        np.testing.assert_allclose(answer.json()["data"][0]["embedding"], expected[text], atol=1e-6)
    assert server.metric("jinabert_onnx_batch_rows_count") - batches < len(texts)  # they did run together


@pytest.mark.parametrize("limit", [(), ("--max-memory", "400MB")], ids=["no limit", "memory limit"])
def test_short_texts_overtake_a_long_one(start: Start, limit: tuple[str, ...]) -> None:
    server = start("--threads", "1", *limit)
    with server.busy(input=[LONG] * 4) as long:
        for _ in range(5):
            assert server.embed(input="short").status_code == 200
        assert not long.done()
        assert long.result().status_code == 200
    assert not limit or server.memory() < 400e6


def test_a_request_of_one_text_overtakes_one_of_many(start: Start) -> None:
    server = start("--threads", "1")
    with server.busy(input=[text * 10 for text in SENTENCES[:150]]) as many:
        assert server.embed(input="short").status_code == 200
        assert not many.done()
        assert len(many.result().json()["data"]) == 150


def test_a_request_that_fails_alone_does_not_take_others_with_it(model: Embedder) -> None:
    served = serve_as(model, "a model")
    scheduler = Scheduler([served], 65_536, 60, Metrics([{"model": served.name}], lambda name: 0))
    taken: dict[str, int] = {}
    finished: dict[str, BaseException | None] = {}
    gate = threading.Event()

    def work(name: str, fails: bool = False, last: int = 5) -> Work:
        def take(index: int, embeddings: np.ndarray) -> None:
            gate.wait(30)
            taken[name] = taken.get(name, 0) + 1
            if fails:
                raise ValueError("this request's own")

        rows = [np.array([2, last, 3])] * 2
        return Work(served, rows, None, take, answer=bytes, items=2, tokens=6, held=0)

    for name, fails, last in (("first", False, 5), ("bad", True, 5), ("good", False, 5), ("broken", False, 10**9)):
        scheduler.submit(work(name, fails, last), Limits(), lambda error, name=name: finished.update({name: error}))
    gate.set()
    wait_for(lambda: len(finished) == 4)
    scheduler.close()

    assert finished["first"] is None
    assert finished["good"] is None
    assert isinstance(finished["bad"], ValueError)
    assert isinstance(finished["broken"], Exception)
    assert taken["good"] == 2
    assert scheduler.waiting_tokens(served) == 0


def test_while_it_drains_it_is_not_ready_and_ends_what_has_come(start: Start) -> None:
    server = start("--threads", "1")
    found: list[httpx.Response] = []

    def probe() -> None:
        with contextlib.suppress(httpx.TransportError):  # once nobody listens any more
            while True:
                found.append(httpx.get(f"{server.url}/ready"))

    with server.busy(input=[LONG] * 4) as long, concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(probe)
        wait_for(lambda: found)
        server.process.send_signal(signal.SIGTERM)
        assert long.result().status_code == 200
    assert server.process.wait(60) == 0
    assert found[0].status_code == 200
    assert found[-1].status_code == 503
    assert found[-1].headers["connection"] == "close"


def test_what_does_not_end_in_time_is_ended(start: Start) -> None:
    server = start("--threads", "1", "--drain", "1")
    with server.busy(input=[LONG] * 10) as long:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert long.result().status_code == 503
        assert long.result().json()["error"]["code"] == "shutting_down"
