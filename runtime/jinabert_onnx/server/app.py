"""The application: its routes, and their description for /docs. Knows nothing of sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import Lifespan

from jinabert_onnx.embedder import Embedder
from jinabert_onnx.errors import BundleChangedError, JinaBertError
from jinabert_onnx.http.descriptions import describe, model_entries
from jinabert_onnx.http.embeddings import Policy
from jinabert_onnx.http.policy import policy_for
from jinabert_onnx.http.problems import Problem, problem_of
from jinabert_onnx.http.schema import EmbeddingsRequest, EmbeddingsResponse, ProblemResponse
from jinabert_onnx.version import __version__

from .admission import Admission
from .asgi import FIELDS, App, Message, Receive, Send
from .bodies import SHARE, WholeBody
from .connection_close import close_while_draining
from .error_responses import respond_to_errors
from .keys import require_key
from .metrics import Metrics
from .options import Options
from .request_log import RequestLog
from .room import Room
from .scheduler import Scheduler, warm_up
from .service import Service
from .slow_readers import end_slow_readers
from .state import State

_EMBEDDING_PATHS = frozenset({"/v1/embeddings", "/invocations"})
_ROUTES = _EMBEDDING_PATHS | {"/v1/models", "/health", "/ready", "/ping", "/metrics", "/docs", "/openapi.json"}
_WARM_UP_SECONDS = 10.0
_REFUSED: dict[int | str, dict[str, Any]] = {"4XX": {"model": ProblemResponse, "description": "The message says why"}}
_REFUSALS = {
    400: "The request is wrong; the message says how to mend it",
    401: "The API key is missing or not valid",
    404: "There is no such model",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "The body is compressed",
    429: "Too much work waits; Retry-After says when to come back",
    500: "The server failed; its log says why",
    503: "The server is shutting down, or its bundle was overwritten",
    504: "Not done in time",
}


def create_app(embedder: Embedder, source: str, options: Options, state: State) -> App:
    """Return the ASGI application that serves `embedder`, which was loaded from `source`."""
    policy = policy_for(
        embedder, source, options.names, options.max_inputs, options.max_queue_tokens, options.accept_token_ids
    )
    description = {name: str(value) for name, value in describe(embedder, policy.names[0]).items()}
    metrics = Metrics(description, lambda: scheduler.waiting_tokens)
    scheduler = Scheduler(embedder.loaded, options.max_queue_tokens, options.timeout / 2, metrics)
    service = Service(embedder.loaded, policy, scheduler, options.timeout)
    app = _new_app(_lifespan(embedder, scheduler, service, state))
    bearer = HTTPBearer(auto_error=False)  # for the document alone; `require_key` checks keys
    keys = [Depends(bearer)] if options.keys else []
    body = _body_of(policy, embedder.get_sentence_embedding_dimension())
    _add_embeddings(app, service, description, body, keys)
    _add_models(app, policy.names, keys)
    _add_probes(app, state, embedder, description)
    _add_metrics(app, metrics, keys)
    return _with_limits(app, options, metrics, state, scheduler.require_room)


def _new_app(lifespan: Lifespan[FastAPI]) -> FastAPI:
    return FastAPI(
        title="jinabert-onnx",
        description="Embeddings, as OpenAI's and Jina's clients ask for them.",
        version=__version__,
        lifespan=lifespan,
        redoc_url=None,
        exception_handlers={HTTPException: _refuse_route, JinaBertError: _refuse, Exception: _refuse},
    )


def _lifespan(embedder: Embedder, scheduler: Scheduler, service: Service, state: State) -> Lifespan[FastAPI]:
    """Return what to do at the start and at the end: warm up meanwhile, and end the threads."""

    async def warm() -> None:
        await asyncio.to_thread(warm_up, scheduler, embedder.loaded, _WARM_UP_SECONDS)
        state.warm = True

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(warm())
        yield
        await warming
        service.close()
        await asyncio.to_thread(scheduler.close)

    return lifespan


def _with_limits(
    app: FastAPI, options: Options, metrics: Metrics, state: State, require_room: Callable[[], None]
) -> App:
    """Put the middlewares around the application; the first is the innermost."""
    handler: App = WholeBody(app, Room(options.held), options.max_body, options.body_timeout)
    handler = Admission(handler, require_room, _EMBEDDING_PATHS, metrics.open_requests.set)
    handler = require_key(handler, options.keys)
    handler = respond_to_errors(handler)
    handler = close_while_draining(handler, state)
    handler = end_slow_readers(handler, options.body_timeout)
    handler = RequestLog(handler, metrics, _ROUTES)

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await (handler if scope["type"] == "http" else app)(scope, receive, send)

    return application


def _add_embeddings(
    app: FastAPI, service: Service, description: dict[str, str], body: dict[str, Any], keys: list[Any]
) -> None:
    async def embed(request: Request) -> Response:
        answer = await service.answer(await request.body(), request.scope[SHARE])
        request.scope[FIELDS].update(texts=answer.texts, tokens=answer.tokens)
        headers = {"x-embedding-fingerprint": description["fingerprint"]}
        return Response(answer.body, media_type="application/json", headers=headers)

    for path, summary in (("/v1/embeddings", "Embed texts"), ("/invocations", "The same, where SageMaker asks")):
        app.add_api_route(
            path,
            embed,
            methods=["POST"],
            summary=summary,
            operation_id=path.strip("/").replace("/", "_"),
            response_model=EmbeddingsResponse,
            responses={status: {"model": ProblemResponse, "description": text} for status, text in _REFUSALS.items()},
            openapi_extra=body,
            dependencies=keys,
        )


def _body_of(policy: Policy, dimensions: int) -> dict[str, Any]:
    """Return the request's part of the OpenAPI document, with the limits of this model."""
    schema = deepcopy(EmbeddingsRequest.model_json_schema())  # which shares parts with the class
    fields = schema["properties"]
    fields["dimensions"]["anyOf"][0]["maximum"] = dimensions
    fields["model"]["anyOf"][0]["enum"] = list(policy.names)
    if policy.accept_token_ids:
        ids = {"type": "array", "items": {"type": "integer"}, "minItems": 1}
        fields["input"]["anyOf"] += [ids, {"type": "array", "items": ids, "minItems": 1}]
    for form in fields["input"]["anyOf"]:
        if form.get("items") != {"type": "integer"} and form["type"] == "array":
            form["maxItems"] = policy.max_inputs
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _add_models(app: FastAPI, names: tuple[str, ...], keys: list[Any]) -> None:
    models = model_entries(names, created=int(time.time()))

    @app.get("/v1/models", summary="The names of the model", responses=_REFUSED, dependencies=keys)
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": models}

    @app.get("/v1/models/{name:path}", summary="One of these", responses=_REFUSED, dependencies=keys)
    async def show_model(name: str) -> dict[str, Any]:
        named = [model for model in models if model["id"] == name]
        if not named:
            raise HTTPException(404, f"there is no model {name[:80]!r}; this server has {', '.join(names)}")
        return named[0]


def _add_probes(app: FastAPI, state: State, embedder: Embedder, description: dict[str, str]) -> None:
    def look() -> None:
        try:
            embedder.loaded.session.require_usable()
        except BundleChangedError:
            state.changed = True

    async def health(response: Response) -> dict[str, str]:
        look()
        response.status_code = 503 if state.changed else 200
        return {"status": state.word} | description

    async def ready(response: Response) -> dict[str, str]:
        look()
        response.status_code = 200 if state.ready else 503
        return {"status": state.word}

    unready: dict[int | str, dict[str, Any]] = {503: {"model": dict[str, str]}}
    app.add_api_route(
        "/health", health, summary="Whether the process lives and can answer, and what runs", responses=unready
    )
    app.add_api_route("/ready", ready, summary="Whether requests should come here", responses=unready)
    app.add_api_route("/ping", ready, summary="The same, where SageMaker asks", responses=unready)
    for path, probe in (("/health", health), ("/ready", ready), ("/ping", ready)):
        app.add_api_route(path, probe, methods=["HEAD"], include_in_schema=False)


def _add_metrics(app: FastAPI, metrics: Metrics, keys: list[Any]) -> None:
    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

    @app.get(
        "/metrics", summary="For Prometheus", response_class=Response, responses=text | _REFUSED, dependencies=keys
    )
    async def show_metrics() -> Response:
        return Response(metrics.page(), media_type=CONTENT_TYPE_LATEST)


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer errors of a request's own, and those that nobody foresaw, which `respond_to_errors` logs."""
    problem = problem_of(error)
    return Response(problem.body(), problem.status, problem.headers(), "application/json")


async def _refuse_route(request: Request, error: Exception) -> Response:
    """Answer unknown paths and methods, in OpenAI's shape."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    problem = Problem(error.status_code, str(error.detail), code)
    return Response(problem.body(), error.status_code, error.headers, "application/json")
