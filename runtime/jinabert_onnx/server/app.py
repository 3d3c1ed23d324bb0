"""The application: its routes, and the middlewares around them. Knows nothing of sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from fastapi import Depends, FastAPI, Request, Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import Lifespan

from jinabert_onnx.errors import JinaBertError
from jinabert_onnx.http.descriptions import describe
from jinabert_onnx.http.problems import Problem, problem_of
from jinabert_onnx.http.served import Served
from jinabert_onnx.version import __version__

from .admission import Admission
from .asgi import App, Message, Receive, Send
from .bodies import WholeBody
from .connection_close import close_while_draining
from .error_responses import respond_to_errors
from .keys import require_key
from .metrics import Metrics
from .options import Options
from .probes import add_metrics, add_probes
from .request_log import RequestLog
from .room import Room
from .routes import MODELS, able_at, add_models, add_work
from .scheduler import Scheduler
from .service import Service
from .slow_readers import end_slow_readers
from .state import State
from .warm_up import warm_up

_OTHER_ROUTES = (MODELS, "/health", "/ready", "/ping", "/metrics", "/docs", "/openapi.json")
_WARM_UP_SECONDS = 10.0


def create_app(models: Sequence[Served], options: Options, state: State) -> App:
    """Return the ASGI application that serves these models."""
    descriptions = [describe(served) for served in models]
    by_name = {served.name: served for served in models}
    metrics = Metrics(
        [{name: str(value) for name, value in description.items()} for description in descriptions],
        lambda name: scheduler.waiting_tokens(by_name[name]),
    )
    scheduler = Scheduler(models, options.max_queue_tokens, options.timeout / 2, metrics)
    service = Service(models, scheduler, options.timeout)
    app = _new_app(_lifespan(models, scheduler, service, state))
    bearer = HTTPBearer(auto_error=False)  # for the document alone; `require_key` checks keys
    keys = [Depends(bearer)] if options.keys else []
    add_work(app, service, models, keys)
    add_models(app, models, keys)
    add_probes(app, state, models, descriptions)
    add_metrics(app, metrics, keys)
    return _with_limits(app, options, metrics, state, models, scheduler)


def _new_app(lifespan: Lifespan[FastAPI]) -> FastAPI:
    return FastAPI(
        title="jinabert-onnx",
        description="Embeddings and reranking for clients of OpenAI's, Jina's and Cohere's APIs.",
        version=__version__,
        lifespan=lifespan,
        redoc_url=None,
        exception_handlers={HTTPException: _refuse_route, JinaBertError: _refuse, Exception: _refuse},
    )


def _lifespan(models: Sequence[Served], scheduler: Scheduler, service: Service, state: State) -> Lifespan[FastAPI]:
    """Return what to do at the start and at the end: warm up meanwhile, and end the threads."""

    async def warm() -> None:
        await asyncio.to_thread(warm_up, scheduler, models, _WARM_UP_SECONDS)
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
    app: FastAPI, options: Options, metrics: Metrics, state: State, models: Sequence[Served], scheduler: Scheduler
) -> App:
    """Put the middlewares around the application; the first is the innermost."""
    able = able_at(models)
    queues = {path: partial(scheduler.require_room_in_any, of_path) for path, of_path in able.items()}
    handler: App = WholeBody(app, Room(options.held), options.max_body, options.body_timeout)
    handler = Admission(handler, queues, metrics.open_requests.set)
    handler = require_key(handler, options.keys)
    handler = respond_to_errors(handler)
    handler = close_while_draining(handler, state)
    handler = end_slow_readers(handler, options.body_timeout)
    only = {path: of_path[0].name if len(of_path) == 1 else "" for path, of_path in able.items()}
    handler = RequestLog(handler, metrics, only | dict.fromkeys(_OTHER_ROUTES, ""))

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await (handler if scope["type"] == "http" else app)(scope, receive, send)

    return application


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
