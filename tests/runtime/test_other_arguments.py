"""Arguments of sentence-transformers mean what they say or are refused, and pickling says what to do instead."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from jinabert_onnx import Embedder, InputError, InputTypeError
from jinabert_onnx.encoding.load_options import LoadOptions
from jinabert_onnx.encoding.options import EncodeOptions, VectorOptions, with_defaults


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_pickling_says_to_send_the_path(model: Embedder, way: Callable[[object], object]) -> None:
    with pytest.raises(
        InputTypeError, match=r"cannot be pickled or copied; send its path .*tiny-de-en.* Embedder\.load"
    ):
        way(model)


OPTIONS = set(EncodeOptions.__annotations__)
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
    with pytest.raises(InputTypeError, match=rf"^{call}\(\) got an unexpected keyword argument 'normalise'$") as caught:
        getattr(model, call)(["a"], normalise=True)
    assert caught.value.argument == "normalise"


def test_late_chunking_refuses_what_is_for_texts_that_are_cut(model: Embedder) -> None:
    for name in OPTIONS - set(VectorOptions.__annotations__) | {"normalise"}:
        with pytest.raises(InputTypeError, match=rf"^encode_chunks\(\) got an unexpected keyword argument '{name}'$"):
            model.encode_chunks("a", **{name: None})


@pytest.mark.parametrize("call", [*ENCODERS, "encode_chunks"])
def test_help_and_signature_have_every_option_with_its_default(call: str) -> None:
    function = getattr(Embedder, call)
    expected = set(VectorOptions.__annotations__) if call == "encode_chunks" else OPTIONS
    parameters, told = inspect.signature(function).parameters, pydoc.render_doc(function, renderer=pydoc.plaintext)
    defaults = {**with_defaults({}), **({"truncation": "head"} if call == "encode_with_report" else {})}

    assert expected <= set(parameters)
    assert "options" not in parameters
    for name in expected:
        assert parameters[name].default == defaults[name]
        assert told.count(f"\n        {name}: ") == 1
    assert "        options: " not in told


def test_the_batch_size_may_stand_by_position_in_encode(model: Embedder) -> None:
    np.testing.assert_array_equal(model.encode(["a", "b"], 1), model.encode(["a", "b"], batch_size=1))
    with pytest.raises(InputError, match="batch_size is 0; it must be at least 1") as caught:
        model.encode(["a"], 0)
    assert caught.value.argument == "batch_size"


def test_a_prompt_that_is_given_takes_the_place_of_the_bundles(model: Embedder) -> None:
    for encode in (model.encode_query, model.encode_document):
        np.testing.assert_array_equal(encode(["a"], prompt="the "), model.encode(["the a"]))


def test_the_arguments_of_load_are_its_options() -> None:
    parameters = dict(inspect.signature(Embedder.load).parameters)
    del parameters["source"]
    assert {name: each.default for name, each in parameters.items()} == vars(LoadOptions())


def test_errors_pickle_with_what_they_are_about() -> None:
    for kind in (InputError, InputTypeError):
        error = pickle.loads(pickle.dumps(kind("text 1 is empty", argument="sentences", index=1)))
        assert (type(error), str(error), error.argument, error.index) == (kind, "text 1 is empty", "sentences", 1)
