"""What a model must run for one request, whoever runs it: a queue that many requests share, or a loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jinabert_onnx.encoding.pooling import Vectors
from jinabert_onnx.encoding.steps import Rows

from .served import Served


@dataclass(frozen=True)
class Work:
    """Rows of token ids, what is to become of each, and the answer that comes of all.

    Attributes:
        served: the model that must run them.
        input_ids: int64 (tokens,) of each row, special tokens included. Rows may run in any order and company.
        token_type_ids: as long as their rows; None for a model that takes none.
        take: to be called once for each row, with its index and what the graph gave for it: token embeddings, float32
            (tokens, hidden), padding after them included, or the logits of a cross-encoder (labels,).
        answer: returns the JSON of the response, after every row was taken.
        items: texts or documents of the request.
        tokens: how many tokens are read.
        held: most bytes of memory that results and answer take.
    """

    served: Served
    input_ids: Rows
    token_type_ids: Rows | None
    take: Callable[[int, Vectors], None]
    answer: Callable[[], bytes]
    items: int
    tokens: int
    held: int


# From the models there are, and a request's body, to the work that it asks for; a refusal is a RequestError.
Plan = Callable[[Sequence[Served], bytes], Work]
