"""What is no list of texts is refused by its type, before a name of a column becomes a vector."""

from __future__ import annotations

from collections import UserDict, UserList

import numpy as np
import pytest
from jinabert_onnx import Embedder, InputTypeError


class Frame(UserList[str]):
    """A table as pandas and polars have it: iterating gives names of columns, or the columns."""

    columns = property(list)


class NamedFrame(UserList[str]):
    """A table as pyarrow and datasets have it."""

    column_names = ("title", "body")


class Series(UserList[str]):
    """A column: an iterable of texts, whose own labels may be called anything."""

    def __init__(self, values: list[str]) -> None:
        super().__init__(values)
        self.columns = "a label"


CALLS = ["encode", "encode_with_report", "encode_stream", "encode_query", "encode_document", "count_tokens"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "table", [Frame(["title", "body"]), NamedFrame(["title", "body"]), {"title": "a"}, UserDict(title="a")], ids=type
)
def test_a_table_or_mapping_in_place_of_texts_is_refused(model: Embedder, call: str, table: object) -> None:
    with pytest.raises(InputTypeError, match=rf"not {type(table).__name__}; pass one column or field as a list"):
        getattr(model, call)(table)


@pytest.mark.parametrize("texts", [Series(["a", "b"]), np.array(["a", "b"]), np.array(["a", "b"], dtype=object)])
def test_a_column_of_texts_is_embedded(model: Embedder, texts: object) -> None:
    np.testing.assert_array_equal(model.encode(texts), model.encode(["a", "b"]))
