"""The options that the classes for frameworks share, each declared once: its type, its default and what it means.

Without `from __future__ import annotations`, for the declarations are read at run time.
"""

from typing import Annotated, TypedDict

from jinabert_onnx.encoding.options import Option


class ModelOptions(TypedDict, total=False):
    """What to load, how texts are encoded, and which vectors exist already."""

    precision: Annotated[str | None, Option(None, "this and the next five as in `Embedder.load`, with its defaults.")]
    provider: Annotated[str | None, Option(None, "see there.")]
    threads: Annotated[int | str | None, Option(None, "see there.")]
    max_memory: Annotated[int | str | None, Option(None, "see there.")]
    revision: Annotated[str | None, Option(None, "see there.")]
    local_files_only: Annotated[bool | None, Option(None, "see there.")]
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
