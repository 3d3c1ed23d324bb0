"""The routes that operators' tools ask: whether the process is well, whether it is ready, and its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST

from jinabert_onnx.errors import BundleChangedError
from jinabert_onnx.http.descriptions import Entry
from jinabert_onnx.http.served import Served

from .metrics import Metrics
from .routes import REFUSED
from .state import State


def add_probes(app: FastAPI, state: State, models: Sequence[Served], descriptions: Sequence[Entry]) -> None:
    """Add /health, /ready and /ping. Of one model /health tells all at once, of several in a list."""
    description: dict[str, Any] = {"models": list(descriptions)}
    if len(descriptions) == 1:
        description = {key: str(value) for key, value in descriptions[0].items()} | description

    def check_bundles() -> None:
        try:
            for served in models:
                served.model.session.require_usable()
        except BundleChangedError:
            state.changed = True

    async def health(response: Response) -> dict[str, Any]:
        check_bundles()
        response.status_code = 503 if state.changed else 200
        return {"status": state.word} | description

    async def ready(response: Response) -> dict[str, str]:
        check_bundles()
        response.status_code = 200 if state.ready else 503
        return {"status": state.word}

    unready: dict[int | str, dict[str, Any]] = {503: {"model": dict[str, str]}}
    unwell: dict[int | str, dict[str, Any]] = {503: {"model": dict[str, Any]}}
    app.add_api_route(
        "/health", health, summary="Whether the process lives and can answer, and what runs", responses=unwell
    )
    app.add_api_route("/ready", ready, summary="Whether requests should come here", responses=unready)
    app.add_api_route("/ping", ready, summary="The same, at SageMaker's path", responses=unready)
    for path, probe in (("/health", health), ("/ready", ready), ("/ping", ready)):
        app.add_api_route(path, probe, methods=["HEAD"], include_in_schema=False)


def add_metrics(app: FastAPI, metrics: Metrics, keys: list[Any]) -> None:
    """Add /metrics."""
    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

    @app.get("/metrics", summary="For Prometheus", response_class=Response, responses=text | REFUSED, dependencies=keys)
    async def show_metrics() -> Response:
        return Response(metrics.page(), media_type=CONTENT_TYPE_LATEST)
