"""A loaded model and the routes that it answers, one call at a time. Knows nothing of AWS's events."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import orjson

from jinabert_onnx.encoding.options import BATCH_SIZE
from jinabert_onnx.encoding.steps import run
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.errors import DeadlineError
from jinabert_onnx.http.descriptions import describe, model_entries
from jinabert_onnx.http.problems import Problem, problem_of, trace_of
from jinabert_onnx.http.routes import ROUTES, route_without_path
from jinabert_onnx.http.served import serve_as
from jinabert_onnx.http.work import Plan
from jinabert_onnx.model import Model

from .events import Answer, Call, problem_answer

logger = logging.getLogger("jinabert_onnx.serverless")


class Function:
    """Answers calls: `POST .../v1/embeddings`, `.../v1/rerank` and `.../v2/rerank`, `GET .../v1/models`, `.../health`.

    A call without a path is for what the model does.
    """

    def __init__(self, model: Model, source: str) -> None:
        """Answer for `model`; `source`, a directory or a hub id, names it."""
        self._served = serve_as(model, source)
        self._created = int(time.time())
        self._direct = partial(self._run, route_without_path([self._served]).plan)
        self._routes: dict[str, tuple[str, Callable[[Call, Limits], Answer]]] = {
            **{path: ("POST", partial(self._run, route.plan)) for path, route in ROUTES.items()},
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
        if call.direct:
            return self._direct(call, limits)
        path = call.path.rstrip("/")
        route = next((route for route in self._routes if path.endswith(route)), None)
        if route is None:
            return problem_answer(Problem(404, f"there is nothing at {call.path[:80]!r}", "not_found"))
        method, answer = self._routes[route]
        if call.method != method:
            problem = Problem(405, f"{route} is for {method}", "method_not_allowed")
            return problem_answer(problem, {"allow": method})
        return answer(call, limits)

    def _run(self, plan: Plan, call: Call, limits: Limits) -> Answer:
        work = plan([self._served], call.body())
        for batch in run(self._served.model, work.input_ids, BATCH_SIZE, limits, work.token_type_ids):
            for index, output in zip(batch.indices, batch.output, strict=True):
                work.take(int(index), output)
        return Answer(200, work.answer(), {self._served.header: self._served.fingerprint})

    def _models(self, call: Call, limits: Limits) -> Answer:
        models = model_entries([self._served], self._created)
        return Answer(200, orjson.dumps({"object": "list", "data": models}))

    def _health(self, call: Call, limits: Limits) -> Answer:
        return Answer(200, orjson.dumps({"status": "ready"} | describe(self._served)))
