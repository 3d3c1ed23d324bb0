"""The fields of LangChain's and LlamaIndex's rerankers, which are models of pydantic.

Needs pydantic, which both frameworks bring.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, PrivateAttr

from jinabert_onnx.cross_encoder import CrossEncoder
from jinabert_onnx.encoding.options import defaults_of

from .options import RerankOptions
from .reranker import Reranker

_DEFAULTS = defaults_of(RerankOptions)


class RerankFields(BaseModel):
    """A reranker and its settings, which cannot be set afterwards."""

    model: str = Field(description="directory or hub id of the bundle", frozen=True)
    precision: str | None = Field(default=None, frozen=True)
    provider: str | None = Field(default=None, frozen=True)
    threads: int | str | None = Field(default=None, frozen=True)
    max_memory: int | str | None = Field(default=None, frozen=True)
    revision: str | None = Field(default=None, frozen=True)
    local_files_only: bool | None = Field(default=None, frozen=True)
    batch_size: int = Field(default=_DEFAULTS["batch_size"], frozen=True)
    max_length: int = Field(default=_DEFAULTS["max_length"], frozen=True)
    max_query_length: int = Field(default=_DEFAULTS["max_query_length"], frozen=True)
    _reranker: Reranker = PrivateAttr()

    def __init__(self, reranker: Reranker, **own: Any) -> None:
        """Hold a reranker; `own` are the fields of the framework's class."""
        super().__init__(model=reranker.source.model, **reranker.settings, **own)
        self._reranker = reranker

    @property
    def cross_encoder(self) -> CrossEncoder:
        """Return the model that runs."""
        return self._reranker.model
