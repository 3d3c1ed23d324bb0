"""The fields of LangChain's and LlamaIndex's rerankers, which are models of pydantic.

Needs pydantic, which both frameworks bring.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, PrivateAttr

from jinabert_onnx.cross_encoder import CrossEncoder
from jinabert_onnx.encoding.options import defaults_of

from .loading_fields import LoadingFields
from .options import RerankOptions
from .reranker import Reranker

_DEFAULTS = defaults_of(RerankOptions)


class RerankFields(LoadingFields):
    """A reranker and its settings, which cannot be set afterwards."""

    model: str = Field(description="directory or hub id of the bundle", frozen=True)
    batch_size: int = Field(default=_DEFAULTS["batch_size"], frozen=True)
    max_length: int = Field(default=_DEFAULTS["max_length"], frozen=True)
    max_query_length: int = Field(default=_DEFAULTS["max_query_length"], frozen=True)
    _reranker: Reranker = PrivateAttr()

    def __init__(self, reranker: Reranker, **own: Any) -> None:
        """Hold a reranker; `own` are the fields of the framework's class."""
        # The next class of the framework's, of which checkers know nothing here, takes all fields.
        super().__init__(model=reranker.source.model, **reranker.settings, **own)  # type: ignore[call-arg]
        self._reranker = reranker

    @property
    def cross_encoder(self) -> CrossEncoder:
        """Return the model that runs."""
        return self._reranker.model
