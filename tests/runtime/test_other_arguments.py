"""Arguments of sentence-transformers mean what they say or are refused, and pickling says what to do instead."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from jinabert_onnx import Embedder, InputError, InputTypeError


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_pickling_says_to_send_the_path(model: Embedder, way: Callable[[object], object]) -> None:
    with pytest.raises(
        InputTypeError, match=r"cannot be pickled or copied; send its path .*tiny-de-en.* Embedder\.load"
    ):
        way(model)


ENCODERS = ["encode", "encode_with_report", "encode_stream", "encode_query", "encode_document"]


def vectors_of(found: object) -> np.ndarray:
    return np.asarray(getattr(found, "vectors", found) if not isinstance(found, Iterator) else list(found))


@pytest.mark.parametrize("call", ENCODERS)
@pytest.mark.parametrize(
    "arguments",
    [
        {"convert_to_numpy": True, "device": "cpu"},
        {"convert_to_tensor": False, "device": None},
        {"convert_to_numpy": 1},
    ],
)
def test_arguments_that_ask_for_what_happens_anyway_are_taken(model: Embedder, call: str, arguments: dict) -> None:
    encode = getattr(model, call)
    np.testing.assert_array_equal(vectors_of(encode(["a"], **arguments)), vectors_of(encode(["a"])))


def test_a_device_may_be_an_object_that_says_its_name(model: Embedder) -> None:
    class Device:  # as torch.device
        def __str__(self) -> str:
            return "cpu"

    np.testing.assert_array_equal(model.encode("a", device=Device()), model.encode("a"))


@pytest.mark.parametrize("call", ENCODERS)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"device": "cuda"}, r"device 'cuda' is not where this model runs \(cpu\); .*provider='cuda'"),
        ({"device": "cuda:1"}, "device 'cuda:1' is not where"),
        ({"device": ["cpu", "cpu"]}, "is not where this model runs"),
        ({"convert_to_tensor": True}, r"convert_to_tensor=True .*torch\.from_numpy"),
        ({"convert_to_numpy": False}, r"convert_to_numpy=False .*leave it out"),
    ],
)
def test_arguments_that_ask_for_something_else_say_what_to_write(
    model: Embedder, call: str, arguments: dict, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        getattr(model, call)(["a"], **arguments)


@pytest.mark.parametrize("call", ENCODERS)
def test_misspelt_arguments_are_refused(model: Embedder, call: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'normalise'"):
        getattr(model, call)(["a"], normalise=True)
