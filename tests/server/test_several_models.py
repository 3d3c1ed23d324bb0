"""Several models in one process: chosen by name, fair to each other, within one limit of memory."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import Start
from jinabert_onnx import CrossEncoder, Embedder
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.http.problems import RequestError
from jinabert_onnx.http.served import Served, serve_as
from jinabert_onnx.http.work import Work
from jinabert_onnx.server.metrics import Metrics
from jinabert_onnx.server.scheduler import Scheduler
from jinabert_onnx.server.warm_up import warm_up
from support.live_server import LiveServer, wait_for
from support.paths import BUNDLES, CHECKPOINT, TRAINED, TRAINED_RERANKER
from support.python import run_command

SENTENCES = [entry["text"] for entry in json.loads((CHECKPOINT / "heldout.json").read_text("utf-8"))["sentences"]]
LONG = "the house at the river " * 1200
TWO = [TRAINED, TRAINED_RERANKER]


def require_vectors(answer: httpx.Response, model: Embedder, texts: list[str]) -> None:
    found = [entry["embedding"] for entry in answer.json()["data"]]
    np.testing.assert_allclose(found, model.encode(texts, normalize_embeddings=True), rtol=0, atol=1e-6)


def test_a_model_is_named_only_where_several_could_be_meant(start: Start, model: Embedder) -> None:
    other = BUNDLES / "plain-4h"
    server = start("--model-name", "de", "--model-name", "small", bundles=[TRAINED, other])

    unnamed = server.embed(input="a")

    assert unnamed.status_code == 400
    assert unnamed.json()["error"]["param"] == "model"
    assert unnamed.json()["detail"] == "several models here embed; name one of de, small"
    require_vectors(server.embed(input=["a", "b c"], model="de"), model, ["a", "b c"])
    with Embedder.load(other, precision="int8") as small:
        require_vectors(server.embed(input=["a", "b c"], model="small"), small, ["a", "b c"])
    assert server.embed(input="a", model="tiny-de-en").status_code == 404
    with server.client() as client:
        assert [entry["id"] for entry in client.get("/v1/models").json()["data"]] == ["de", "small"]
        assert client.get("/v1/models/small").json()["id"] == "small"
        schema = client.get("/openapi.json").json()["paths"]["/v1/embeddings"]["post"]["requestBody"]
    assert schema["content"]["application/json"]["schema"]["required"] == ["input", "model"]


def test_probes_and_metrics_tell_of_each_model(both: LiveServer, model: Embedder, reranker: CrossEncoder) -> None:
    both.embed(input=["a", "b"])
    both.rerank(query="a", documents=["b"])
    with both.client() as client:
        health, metrics = client.get("/health").json(), client.get("/metrics").text

    assert set(health) == {"status", "models"}
    assert [entry["model"] for entry in health["models"]] == ["tiny-de-en", "tiny-de-en-reranker", "classifier-3-4h"]
    for told, loaded in zip(health["models"], (model, reranker), strict=False):
        assert told["fingerprint"] == str(loaded.fingerprint)
        assert f'fingerprint="{loaded.fingerprint}"' in metrics
    assert [entry.get("labels") for entry in health["models"]] == [None, 1, 3]
    for name, route in (("tiny-de-en", "/v1/embeddings"), ("tiny-de-en-reranker", "/v1/rerank")):
        assert both.metric("jinabert_onnx_requests_total", model=name, route=route, status="200") > 0
        assert both.metric("jinabert_onnx_tokens_total", model=name) > 0
        assert both.metric("jinabert_onnx_queue_seconds_count", model=name) > 0
    assert both.metric("jinabert_onnx_tokens_total", model="classifier-3-4h") == 0
    assert 'jinabert_onnx_tokens_total{model="classifier-3-4h"} 0.0' in metrics


def test_one_models_flood_does_not_starve_the_other(start: Start) -> None:
    server = start("--threads", "1", bundles=TWO)
    flood = [[SENTENCES[(20 * place + number) % 150] * 10 for number in range(8)] for place in range(12)]
    with concurrent.futures.ThreadPoolExecutor(len(flood)) as pool:
        floods = [pool.submit(server.embed, input=texts, model="tiny-de-en") for texts in flood]
        wait_for(lambda: server.metric("jinabert_onnx_queued_tokens", model="tiny-de-en") > 10_000)
        for _ in range(3):
            assert server.rerank(query="short", documents=["a", "b"]).status_code == 200
        assert sum(embedded.done() for embedded in floods) < len(floods) // 2
        assert {embedded.result().status_code for embedded in floods} == {200}


def test_one_models_full_queue_does_not_refuse_the_other(start: Start) -> None:
    server = start("--max-queue-tokens", "9000", "--threads", "1", bundles=TWO)
    with server.busy(input=[LONG]), concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert server.embed(input=[LONG]).status_code == 429
        answers = list(pool.map(lambda _: server.rerank(query="a", documents=["b " * 500] * 5), range(2)))
        assert {answer.status_code for answer in answers} == {200}  # the second comes while the first waits


def test_a_rerankers_full_queue_is_a_429_that_says_when_to_come_back(start: Start) -> None:
    server = start("--max-queue-tokens", "9000", bundles=[TRAINED_RERANKER])
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: server.rerank(query="a", documents=["b " * 500] * 9), range(12)))

    assert {answer.status_code for answer in answers} == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert server.metric("jinabert_onnx_requests_total", model="tiny-de-en-reranker", status="429") > 0


def served_of(path: Path) -> Served:
    return serve_as(Embedder.load(path, precision="int8"), str(path))


def new_work(served: Served, lengths: list[int], gate: threading.Event) -> Work:
    """Rows of zeros; the first result that comes waits for `gate`."""
    rows = [np.zeros(tokens, dtype=np.int64) for tokens in lengths]
    return Work(served, rows, None, lambda index, output: gate.wait(60), bytes, len(rows), sum(lengths), held=0)


def test_what_waits_for_a_model_is_no_reason_to_refuse_work_for_another() -> None:
    first, second = served_of(TRAINED), served_of(BUNDLES / "plain-4h")
    scheduler = Scheduler([first, second], 5000, 60, Metrics([{"model": "a"}, {"model": "b"}], lambda name: 0))
    gate = threading.Event()
    try:
        for served, tokens in ((second, 512), (second, 512), (first, 16)):
            scheduler.submit(new_work(served, [tokens], gate), Limits(), lambda error: None)
        for line in (scheduler._short, scheduler._long):
            line.loads[first].rate, line.loads[second].rate = 1000.0, 10.0  # tokens a second
        scheduler.require_room(first, 1000)
        with pytest.raises(RequestError, match=r"1024 tokens wait\); try again in 103 s"):
            scheduler.require_room(second, 1)
        with pytest.raises(RequestError):
            scheduler.require_room_in_any([second])
        scheduler.require_room_in_any([second, first])
        gate.set()
        warm_up(scheduler, [first, second], 30)  # though a queue may be full
        wait_for(lambda: scheduler.waiting_tokens(first) == scheduler.waiting_tokens(second) == 0)
    finally:
        gate.set()
        scheduler.close()


def test_the_time_in_which_nothing_waited_is_not_in_the_rate() -> None:
    """Though what waited was dropped, by clients that left."""
    served = served_of(TRAINED)
    scheduler = Scheduler([served], 65_536, 60, Metrics([{"model": "a"}], lambda name: 0))
    line, gate = scheduler._short, threading.Event()
    gate.set()
    finished: list[BaseException | None] = []
    jobs = [scheduler.submit(new_work(served, [512] * 8, gate), Limits(), finished.append) for _ in range(2)]
    wait_for(lambda: finished)
    scheduler.end(jobs[1])
    wait_for(lambda: scheduler.waiting_tokens(served) == 0)
    rate = line.loads[served].rate
    time.sleep(2)
    scheduler.submit(new_work(served, [512] * 4, gate), Limits(), finished.append)
    wait_for(lambda: len(finished) == 2 and scheduler.waiting_tokens(served) == 0)
    scheduler.close()

    assert line.loads[served].rate > rate / 2


def test_a_models_rate_is_what_the_turns_of_others_leave_it() -> None:
    first, second = served_of(TRAINED), served_of(BUNDLES / "plain-4h")
    scheduler = Scheduler([first, second], 65_536, 60, Metrics([{"model": "a"}, {"model": "b"}], lambda name: 0))
    finished: list[BaseException | None] = []

    def work(served: Served, seconds: float) -> Work:
        """Batches that take so long, whatever the model's own speed."""
        rows = [np.zeros(512, dtype=np.int64)] * 30
        return Work(served, rows, None, lambda index, output: time.sleep(seconds), bytes, 30, 30 * 512, held=0)

    for served, seconds in ((first, 0.02), (second, 0.08)):
        scheduler.submit(work(served, seconds), Limits(), finished.append)
    wait_for(lambda: len(finished) == 2)
    rates = [scheduler._short.loads[served].rate for served in (first, second)]
    scheduler.close()

    assert finished == [None, None]
    assert max(rates) < 512 / 0.08  # the quick one waited for the slow one
    assert rates[0] == pytest.approx(rates[1], rel=0.5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_mixed_load_loses_no_accepted_request(
    start: Start, model: Embedder, reranker: CrossEncoder, number: int
) -> None:
    server = start(bundles=TWO)
    texts, documents = SENTENCES[:3], SENTENCES[10:30]
    vectors = model.encode(texts, normalize_embeddings=True)
    scores = {each.index: each.score for each in reranker.rank(texts[0], documents)}
    outcomes: list[str] = []
    stop = threading.Event()

    def post(connection: httpx.Client, embeds: bool) -> str:
        if embeds:
            answer = connection.post("/v1/embeddings", json={"input": texts})
            found = [entry["embedding"] for entry in answer.json()["data"]]
            np.testing.assert_allclose(found, vectors, rtol=0, atol=1e-6)
            return "vectors"
        answer = connection.post("/v2/rerank", json={"query": texts[0], "documents": documents})
        found = {result["index"]: result["relevance_score"] for result in answer.json()["results"]}
        np.testing.assert_allclose([found[i] for i in range(20)], [scores[i] for i in range(20)], rtol=0, atol=1e-6)
        return "scores"

    def client(embeds: bool) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as connection:
            while not stop.is_set():
                try:
                    outcomes.append(post(connection, embeds))
                except httpx.ConnectError:
                    return  # not accepted: nobody listens any more

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        clients = [pool.submit(client, place % 2 == 0) for place in range(16)]
        wait_for(lambda: len(outcomes) > 100)
        os.kill(server.process.pid, number)
        assert server.process.wait(60) == 0
        stop.set()
        for done in clients:
            done.result()

    assert set(outcomes) == {"vectors", "scores"}
    assert "Traceback" not in server.log


LOAD = {
    "/v1/embeddings": [
        {"input": ["a", "b c d"]},
        {"input": ["the house at the river"] * 400},
        {"input": LONG},
        {"input": "the house at the river " * 100_000, "truncate": True},
        {"input": ["the house at the river " * 80] * 8},
        {"input": ["a a a " * 650] * 2000},
        {"input": "中" * 200_000},
        {"input": ["🚆" * 2000] * 10, "truncate": True},
        {"input": ["the house at the river " * 20] * 100, "late_chunking": True},
        {"input": [[]] * 500_000},
    ],
    "/v1/rerank": [
        {"query": "a", "documents": ["b"]},
        {"query": "the river", "documents": ["the house at the river " * 10] * 20},
        {"query": "the river " * 300, "documents": ["the house at the river " * 60] * 30},
        {"query": "a", "documents": ["the house at the river " * 4000, "b"]},
        {"query": "a", "documents": ["the house at the river " * 100_000], "max_tokens_per_doc": 4000},
        {"query": "a", "documents": [""] * 2000},
        {"query": "the river " * 300, "documents": ["the house at the river " * 1500] * 3},
        {"query": "a", "documents": ["🚆 " + "a b " * 1000] * 250, "max_tokens_per_doc": 1},
        {"query": "a", "documents": [{"text": "a", "tags": [[[["b"]]]]}] * 2000},
        {"query": "a", "documents": [[[[[[[]]]]]]] * 16_000},
        {"query": "a", "documents": ["中" * 200_000]},
        {"query": "the river " * 300_000, "documents": ["b"]},
        {"query": "a", "documents": [[]] * 500_000},
    ],
}


def test_a_memory_limit_holds_the_whole_process_under_mixed_load(start: Start) -> None:
    limit = 290_000_000
    server = start("--max-memory", f"{limit}B", "--body-timeout", "60", bundles=TWO)
    bodies = [
        (path, json.dumps(fields, ensure_ascii=False).encode()) for path, bodies in LOAD.items() for fields in bodies
    ] * 6

    def post(path: str, body: bytes) -> int:
        return httpx.post(f"{server.url}{path}", content=body, timeout=120).status_code

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        statuses = list(pool.map(post, *zip(*bodies, strict=True)))

    assert set(statuses) <= {200, 400, 413, 429}
    for path, middling in (("/v1/embeddings", 1), ("/v1/rerank", 1)):
        body = json.dumps(LOAD[path][middling]).encode()
        assert 200 in {status for sent, status in zip(bodies, statuses, strict=True) if sent == (path, body)}
    assert server.peak_memory() <= limit
    assert server.rerank(query="a", documents=["b", "c " * 300]).status_code == 200


def test_a_bundle_that_was_overwritten_stops_the_server_whichever_it_is(start: Start, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(TRAINED_RERANKER, tmp_path / "reranker"))
    server = start(bundles=[TRAINED, copy])
    (copy / "onnx" / "model_int8.onnx").touch()

    wait_for(lambda: server.rerank(query="a", documents=["b"]).status_code == 503)
    wait_for(lambda: httpx.get(f"{server.url}/health").status_code == 503)
    assert server.embed(input="a").status_code == 200  # until the process is replaced


WRONG = {
    "both have one name": (["NAMELESS"], 1, "another model is called 'tiny-de-en' too; give --model-name NAME once"),
    "one name given twice": (["--model-name", "a", "--model-name", "a"], 1, "another model is called 'a' too"),
    "a length that one has not": (
        ["--max-length", "4"],
        2,
        "tiny-de-en-reranker: --max-length is 4; it must be from 5",
    ),
    "one name for two": (["--model-name", "a"], 2, "--model-name was given 1 times for 2 models"),
    "three names for two": (["--model-name", "a"] * 3, 2, "--model-name was given 3 times for 2 models"),
    "one revision for two": (["--revision", "main"], 2, "--revision is that of one model"),
    "too little memory": (
        ["--max-memory", "115MB"],
        1,
        r"the models before it take (23|26)MB of the 115MB",
    ),  # with native attention; with layers too
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_served_together_is_told_at_the_start(tmp_path: Path, name: str) -> None:
    options, code, message = WRONG[name]
    second = TRAINED_RERANKER
    if options == ["NAMELESS"]:
        options, second = [], tmp_path / "tiny-de-en"
        shutil.copytree(TRAINED, second)

    ended = run_command("serve", TRAINED, second, "--precision", "int8", "--port", "0", *options)

    assert ended.returncode == code, ended.stderr
    assert re.search(message, ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_classifier_alone_is_not_served(tmp_path: Path) -> None:
    ended = run_command("serve", BUNDLES / "classifier-3-4h", "--port", "0")

    assert ended.returncode == 1
    assert "has 3 labels" in ended.stderr
    assert "can neither embed nor rerank; score pairs with CrossEncoder.predict" in ended.stderr


def test_names_that_two_models_have_are_nobodys(start: Start, tmp_path: Path) -> None:
    server = start(bundles=[Path(shutil.copytree(TRAINED, tmp_path / name)) for name in ("older", "newer")])

    assert [entry["id"] for entry in httpx.get(f"{server.url}/v1/models").json()["data"]] == ["older", "newer"]
