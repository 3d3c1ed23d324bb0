"""The paths at which a model can be asked, what each wants of it, and how each reads its requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from . import embeddings, reranking
from .served import EMBED, RERANK, Served
from .work import Plan


@dataclass(frozen=True)
class Route:
    """What a path wants of a model, `EMBED` or `RERANK`, and what makes work of its requests."""

    wanted: str
    plan: Plan


EMBEDDINGS, RERANK_V1, RERANK_V2 = "/v1/embeddings", "/v1/rerank", "/v2/rerank"

ROUTES = {
    EMBEDDINGS: Route(EMBED, embeddings.plan),
    RERANK_V1: Route(RERANK, partial(reranking.plan, version="1")),
    RERANK_V2: Route(RERANK, partial(reranking.plan, version="2")),
}


def route_without_path(models: Sequence[Served]) -> Route:
    """Return the route of requests that say nothing of what they want: to embed, unless no model can."""
    return ROUTES[EMBEDDINGS if any(served.can(EMBED) for served in models) else RERANK_V1]
