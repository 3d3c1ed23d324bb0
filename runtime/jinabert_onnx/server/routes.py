"""The routes that clients use: vectors, reranking and the models there are, with their description for /docs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from jinabert_onnx.http.descriptions import model_entries
from jinabert_onnx.http.embeddings_schema import EmbeddingsRequest, EmbeddingsResponse
from jinabert_onnx.http.rerank_schema import RerankRequest, RerankResponse
from jinabert_onnx.http.responses import ProblemResponse
from jinabert_onnx.http.routes import EMBEDDINGS, RERANK_V1, RERANK_V2, ROUTES, Route, route_without_path
from jinabert_onnx.http.served import EMBED, Served
from jinabert_onnx.http.work import Plan

from .asgi import FIELDS
from .bodies import SHARE
from .service import Service

SAGEMAKER, MODELS = "/invocations", "/v1/models"

Schema = dict[str, Any]

REFUSED: dict[int | str, Schema] = {"4XX": {"model": ProblemResponse, "description": "The message says why"}}
_REFUSALS = {
    400: "The request is wrong; the message says how to fix it",
    401: "The API key is missing or not valid",
    404: "There is no such model",
    408: "The body arrived too slowly",
    413: "The body is too large",
    415: "The body is compressed",
    429: "Too much work is waiting; Retry-After says when to try again",
    500: "The server failed; its log says why",
    503: "The server is shutting down, or its bundle was overwritten",
    504: "Not done in time",
}


_SUMMARIES = {
    EMBEDDINGS: "Embed texts",
    RERANK_V1: "Rerank documents",
    RERANK_V2: "The same, as Cohere's clients ask",
}


def work_routes(models: Sequence[Served]) -> dict[str, Route]:
    """Return the route of each path that runs a model, SageMaker's among them."""
    return ROUTES | {SAGEMAKER: route_without_path(models)}


def able_at(models: Sequence[Served]) -> dict[str, list[Served]]:
    """Return the models that can do what each of these paths wants."""
    routes = work_routes(models)
    return {path: [served for served in models if served.can(route.wanted)] for path, route in routes.items()}


def add_work(app: FastAPI, service: Service, models: Sequence[Served], keys: list[Any]) -> None:
    """Add the routes that run a model. A path for which there is none answers that, and is not in the document."""
    routes = work_routes(models)
    for path, able in able_at(models).items():
        embeds = routes[path].wanted == EMBED
        app.add_api_route(
            path,
            _answering(service, routes[path].plan),
            methods=["POST"],
            summary=_SUMMARIES.get(path) or f"{_SUMMARIES[EMBEDDINGS if embeds else RERANK_V1]}, at SageMaker's path",
            operation_id=path.strip("/").replace("/", "_"),
            response_model=EmbeddingsResponse if embeds else RerankResponse,
            responses={status: {"model": ProblemResponse, "description": text} for status, text in _REFUSALS.items()},
            openapi_extra=_body(_embeddings_schema(able) if embeds else _rerank_schema(able)) if able else None,
            dependencies=keys,
            include_in_schema=bool(able),
        )


def _answering(service: Service, plan: Plan) -> Any:
    async def answer(request: Request) -> Response:
        answered = await service.answer(plan, await request.body(), request.scope[SHARE], request.scope[FIELDS])
        headers = {answered.served.header: answered.served.fingerprint}
        return Response(answered.body, media_type="application/json", headers=headers)

    return answer


def _body(schema: Schema) -> Schema:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _schema_of(request: type[BaseModel], models: Sequence[Served]) -> Schema:
    schema = deepcopy(request.model_json_schema())  # which shares parts with the class
    name, null = schema["properties"]["model"]["anyOf"]
    name["enum"] = [name for served in models for name in served.names]
    if len(models) > 1:
        schema["required"].append("model")
        schema["properties"]["model"]["anyOf"].remove(null)
    return schema


def _embeddings_schema(models: Sequence[Served]) -> Schema:
    """Return the schema of a request, with the limits of the models."""
    schema = _schema_of(EmbeddingsRequest, models)
    fields = schema["properties"]
    widths = [served.model.bundle.manifest.dimensions for served in models]
    fields["dimensions"]["anyOf"][0]["maximum"] = max(widths)
    if any(served.accept_token_ids for served in models):
        ids = {"type": "array", "items": {"type": "integer"}, "minItems": 1}
        fields["input"]["anyOf"] += [ids, {"type": "array", "items": ids, "minItems": 1}]
    for form in fields["input"]["anyOf"]:
        if form.get("items") != {"type": "integer"} and form["type"] == "array":
            form["maxItems"] = models[0].max_inputs
    return schema


def _rerank_schema(models: Sequence[Served]) -> Schema:
    schema = _schema_of(RerankRequest, models)
    schema["properties"]["documents"]["maxItems"] = models[0].max_inputs
    return schema


def add_models(app: FastAPI, models: Sequence[Served], keys: list[Any]) -> None:
    """Add the list of models."""
    entries = model_entries(models, created=int(time.time()))

    @app.get(MODELS, summary="The names of the models", responses=REFUSED, dependencies=keys)
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": entries}

    @app.get(f"{MODELS}/{{name:path}}", summary="One of them", responses=REFUSED, dependencies=keys)
    async def show_model(name: str) -> dict[str, Any]:
        named = [entry for entry in entries if entry["id"] == name]
        if not named:
            names = ", ".join(str(entry["id"]) for entry in entries)
            raise HTTPException(404, f"there is no model {name[:80]!r}; this server has {names}")
        return named[0]
