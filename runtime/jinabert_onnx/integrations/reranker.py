"""Documents to their order for the frameworks' classes: a reranker, and how it reads.

Knows no framework.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from jinabert_onnx.cross_encoder import CrossEncoder
from jinabert_onnx.encoding.options import defaults_of, require_known
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.scoring.options import OVERLAP_TOKENS
from jinabert_onnx.scoring.ranking import Lengths, require_one_label
from jinabert_onnx.scoring.results import RankedDocument
from jinabert_onnx.text.inputs import require_range

from .held_model import HeldModel
from .options import RerankOptions
from .source import loading_of, open_shared


@dataclass(frozen=True)
class Reading:
    """How documents are read beside a query: arguments of `CrossEncoder.rank`."""

    batch_size: int
    max_length: int
    max_query_length: int


class Reranker(HeldModel[CrossEncoder, Reading]):
    """A reranker, and how the frameworks' documents are read with it."""

    def rank(
        self, query: str, documents: Sequence[str], top_n: int | None, cancellation: Cancellation | None = None
    ) -> list[RankedDocument]:
        """Order documents by how well they fit a query, the best `top_n` first, or all."""
        return self.model.rank(
            query, documents, top_n, show_progress_bar=False, cancellation=cancellation, **asdict(self.asking)
        )


def open_reranker(model: str | os.PathLike[str] | CrossEncoder, options: RerankOptions, top_n: int | None) -> Reranker:
    """Open a reranker whose model is loaded and whose settings, and `top_n`, are checked.

    Args:
        model: directory or hub id of a bundle, or a CrossEncoder, which is then shared and not closed.
        options: nothing about loading may be asked for where a CrossEncoder is given.
        top_n: how many documents will be asked for; None for all.

    Raises:
        InputTypeError: the model is none of these, or an option is unknown.
        InputError: a setting is out of range, or means loading and a CrossEncoder is given; the model has several
            labels.
        BundleError: the model is no cross-encoder.
        What `CrossEncoder.load` raises.
    """
    require_known("__init__", options, RerankOptions)
    given = {**defaults_of(RerankOptions), **options}
    if top_n is not None:
        require_range("top_n", top_n, 1, None)
    source, cross_encoder = open_shared(CrossEncoder, model, loading_of(options))
    require_one_label(cross_encoder.labels)
    lengths = Lengths(given["max_length"], given["max_query_length"], OVERLAP_TOKENS)
    lengths = lengths.within(cross_encoder.max_seq_length)
    batch_size = require_range("batch_size", given["batch_size"], 1, None)
    return Reranker(source, Reading(batch_size, lengths.max_length, lengths.max_query_length), cross_encoder)
