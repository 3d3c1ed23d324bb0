"""A loaded model and the routes that it answers, one call at a time. Knows nothing of AWS's events."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import orjson

from jinabert_onnx.embedder import Embedder
from jinabert_onnx.encoding.options import BATCH_SIZE
from jinabert_onnx.encoding.steps import run
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.errors import DeadlineError
from jinabert_onnx.http.descriptions import describe, model_entries
from jinabert_onnx.http.embeddings import plan, response_body
from jinabert_onnx.http.policy import policy_for
from jinabert_onnx.http.problems import Problem, problem_of, trace_of
from jinabert_onnx.http.schema import parse_request

from .events import EMBEDDINGS, Answer, Call, problem_answer

logger = logging.getLogger("jinabert_onnx.serverless")


class Function:
    """Answers calls: `POST .../v1/embeddings`, `GET .../v1/models` and `GET .../health`."""

    def __init__(self, embedder: Embedder, source: str) -> None:
        """Answer for `embedder`; `source`, a directory or a hub id, names the model."""
        self._embedder, self._policy = embedder, policy_for(embedder, source)
        self._fingerprint = str(embedder.fingerprint)
        self._created = int(time.time())
        self._routes: dict[str, tuple[str, Callable[[Call, Limits], Answer]]] = {
            EMBEDDINGS: ("POST", self._embed),
            "/v1/models": ("GET", self._models),
            "/health": ("GET", self._health),
        }

    def answer(self, call: Call, seconds: float) -> Answer:
        """Answer a call, with its result or a problem, in at most `seconds` and the time to write JSON."""
        try:
            if seconds <= 0:
                raise DeadlineError("no time is left for this call")
            return self._dispatch(call, Limits(seconds))
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                logger.error("a call failed: %s", trace_of(error))
            return problem_answer(problem)

    def _dispatch(self, call: Call, limits: Limits) -> Answer:
        """Answer by the end of the path: what comes before is a stage or a mapping of the API's."""
        path = call.path.rstrip("/")
        route = next((route for route in self._routes if path.endswith(route)), None)
        if route is None:
            return problem_answer(Problem(404, f"there is nothing at {call.path[:80]!r}", "not_found"))
        method, answer = self._routes[route]
        if call.method != method:
            problem = Problem(405, f"{route} is for {method}", "method_not_allowed")
            return problem_answer(problem, {"allow": method})
        return answer(call, limits)

    def _embed(self, call: Call, limits: Limits) -> Answer:
        request = parse_request(call.body())
        work = plan(self._embedder.loaded, request, self._policy)
        for indices, embeddings, mask in run(self._embedder.loaded, work.input_ids, BATCH_SIZE, limits):
            for index, tokens, row in zip(indices, embeddings, mask, strict=True):
                work.take(int(index), tokens[: row.sum()])
        body = response_body(work, request, self._policy)
        return Answer(200, body, {"x-embedding-fingerprint": self._fingerprint})

    def _models(self, call: Call, limits: Limits) -> Answer:
        models = model_entries(self._policy.names, self._created)
        return Answer(200, orjson.dumps({"object": "list", "data": models}))

    def _health(self, call: Call, limits: Limits) -> Answer:
        content = {"status": "ready"} | describe(self._embedder, self._policy.names[0])
        return Answer(200, orjson.dumps(content))
