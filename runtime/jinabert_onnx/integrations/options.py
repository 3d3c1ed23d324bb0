"""The options that the classes for frameworks share, each declared once: its type, its default and what it means.

Without `from __future__ import annotations`, for the declarations are read at run time.
"""

from typing import Annotated, TypedDict

from jinabert_onnx.encoding.options import BATCH_SIZE, Option
from jinabert_onnx.scoring.options import MAX_LENGTH, MAX_QUERY_LENGTH


class LoadingOptions(TypedDict, total=False):
    """What to load, and how."""

    precision: Annotated[str | None, Option(None, "this and the next five as in `Embedder.load`, with its defaults.")]
    provider: Annotated[str | None, Option(None, "see there.")]
    threads: Annotated[int | str | None, Option(None, "see there.")]
    max_memory: Annotated[int | str | None, Option(None, "see there.")]
    revision: Annotated[str | None, Option(None, "see there.")]
    local_files_only: Annotated[bool | None, Option(None, "see there.")]


class ModelOptions(LoadingOptions, total=False):
    """What to load, how texts are encoded, and which vectors exist already."""

    max_length: Annotated[
        int | None, Option(None, "tokens, special ones included, to cut each text to; default: the bundle's.")
    ]
    normalize_embeddings: Annotated[
        bool, Option(True, "scale each vector to length 1, so that cosine, dot product and distance rank alike.")
    ]
    truncation: Annotated[
        str,
        Option("warn", 'what to do with longer texts, as in `Embedder.encode`; "warn" gives a TruncationWarning.'),
    ]
    fingerprint: Annotated[
        str | None, Option(None, "of vectors that exist; a model of another vector space is refused.")
    ]


class RerankOptions(LoadingOptions, total=False):
    """Which reranker to load, and how documents are ranked."""

    batch_size: Annotated[int, Option(BATCH_SIZE, "maximum number of windows of documents per batch.")]
    max_length: Annotated[
        int,
        Option(
            MAX_LENGTH,
            "tokens that are read at a time, of the query with a document; a longer document is read in overlapping "
            "windows, as in `CrossEncoder.rank`. At least twice `max_query_length`.",
        ),
    ]
    max_query_length: Annotated[
        int, Option(MAX_QUERY_LENGTH, "tokens that a query is cut to, with a TruncationWarning.")
    ]
