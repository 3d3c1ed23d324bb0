"""The hash of the weights knows every weight and no file; the limits of int8 are wide enough for unseen texts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from jinabert_onnx.encoding.pooling import normalize
from jinabert_onnx.encoding.vector_types import convert, limit_for
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.int8.calibration import read_calibration_texts
from jinabert_onnx_export.verify.reference import embed
from jinabert_onnx_export.verify.vector_space import vector_limits, weights_sha256
from safetensors.torch import load_file, save_file
from support.references import cosines
from torch import Tensor

TRAINED = Path(__file__).parents[1] / "data" / "tiny-de-en"
GOLDEN, OTHER_VARIANT = "plain-4h", "qk-post-norm-12h"

Tensors = dict[str, Tensor]
Copy = Callable[[str], Path]


@pytest.fixture
def hash_with(copy_checkpoint: Copy) -> Callable[..., str]:
    """The hash of a copy of the golden after its tensors were changed by a function."""

    def hash_of(change: Callable[[Tensors], Tensors], file: str = "model.safetensors") -> str:
        directory = copy_checkpoint(GOLDEN)
        tensors = change(load_file(directory / "model.safetensors"))
        (directory / "model.safetensors").unlink()
        save = torch.save if file.endswith(".bin") else save_file
        save(tensors, directory / file)
        return weights_sha256(open_checkpoint(directory).load_encoder())

    return hash_of


def with_prefix(tensors: Tensors) -> Tensors:
    return {f"bert.{name}": tensor for name, tensor in tensors.items()}


def in_halves(tensors: Tensors) -> Tensors:
    return {name: tensor.half() for name, tensor in tensors.items()}


def rounded_to_halves(tensors: Tensors) -> Tensors:
    return {name: tensor.half().float() for name, tensor in tensors.items()}


def with_one_weight_a_step_larger(tensors: Tensors) -> Tensors:
    weight = tensors["encoder.layer.1.attention.output.dense.weight"].float().clone()
    weight[-1, -1] = torch.nextafter(weight[-1, -1], torch.tensor(torch.inf))
    return tensors | {"encoder.layer.1.attention.output.dense.weight": weight}


def with_two_weights_exchanged(tensors: Tensors) -> Tensors:
    first, second = (f"encoder.layer.0.attention.self.{part}.weight" for part in ("query", "key"))
    return tensors | {first: tensors[second], second: tensors[first]}


def test_the_hash_is_of_values_and_not_of_the_type_that_stores_them(hash_with: Callable[..., str]) -> None:
    assert hash_with(in_halves) == hash_with(rounded_to_halves)


@pytest.mark.parametrize(
    ("change", "file"),
    [(dict, "model.safetensors"), (dict, "pytorch_model.bin"), (with_prefix, "model.safetensors")],
)
def test_the_hash_does_not_know_the_files(
    hash_with: Callable[..., str], copy_checkpoint: Copy, change: Callable[[Tensors], Tensors], file: str
) -> None:
    expected = weights_sha256(open_checkpoint(copy_checkpoint(GOLDEN)).load_encoder())
    assert len(expected) == 64
    assert hash_with(change, file) == expected


@pytest.mark.parametrize("change", [with_one_weight_a_step_larger, with_two_weights_exchanged, rounded_to_halves])
def test_other_weights_have_another_hash(hash_with: Callable[..., str], change: Callable[[Tensors], Tensors]) -> None:
    assert hash_with(change) != hash_with(dict)


@cache
def fitted_limits() -> dict[str, float]:
    """Of the trained checkpoint, as an export fits them."""
    checkpoint = open_checkpoint(TRAINED)
    return vector_limits(embed(checkpoint, checkpoint.load_encoder(), read_calibration_texts()))


@pytest.mark.parametrize(("normalized", "least"), [(True, 0.9995), (False, 0.993)])
@pytest.mark.parametrize("dimensions", [256, 128, 64])
def test_unseen_texts_keep_their_direction_in_int8(normalized: bool, least: float, dimensions: int) -> None:
    limit = limit_for(fitted_limits(), normalized, dimensions, 256)
    with np.load(TRAINED / "heldout.npz") as arrays:
        vectors = np.concatenate([arrays[name] for name in arrays])[:, :dimensions]
    vectors = normalize(vectors) if normalized else vectors
    kept = convert(vectors, "int8", limit).astype(np.float32)
    assert cosines(vectors, kept).min() > least


def test_normalised_values_need_no_more_than_one() -> None:
    limits = vector_limits(np.float32([[3, 0], [0, -4]]))
    assert limits["normalized"] == 1
    assert limits["raw"] > 4


def test_limits_follow_raw_vectors_and_not_their_lengths() -> None:
    vectors = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
    once, twice = vector_limits(vectors), vector_limits(2 * vectors)
    assert twice["raw"] == pytest.approx(2 * once["raw"])
    assert twice["normalized"] == pytest.approx(once["normalized"])
