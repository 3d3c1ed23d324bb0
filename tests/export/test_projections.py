"""Biases that a softmax does not see: folded away they change nothing, and what cannot be folded is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import GOLDENS, ragged, stock_session
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder import trace
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.errors import ExportError
from jinabert_onnx_export.int8.activations import record_activations
from jinabert_onnx_export.passes.optimize import optimize

NAMES = ("plain-4h", "qk-post-norm-12h")


def encoder_of(name: str, change: Callable[[torch.nn.Module], None]) -> JinaBertEncoder:
    """A golden's encoder, with `change` made to every layer's self-attention."""
    encoder = open_checkpoint(GOLDENS / name).load_encoder()
    with torch.no_grad():
        for layer in encoder.encoder.layer:
            change(layer.attention.self)
    return encoder


def assert_is_torchs(encoder: JinaBertEncoder, tolerance: float) -> None:
    session = stock_session(optimize(trace.trace(encoder)))
    for length in (40, 600):
        ids, mask = ragged([length])
        with torch.inference_mode():
            expected = encoder(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        found = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["query", "key", "value"])
def test_large_biases_are_torchs(name: str, part: str) -> None:
    """Of keys as large as a float32 sum in torch can bear; the graph has none where nothing stands between."""

    def enlarge(attention: torch.nn.Module) -> None:
        linear = getattr(attention, part)
        linear.bias.copy_(torch.linspace(-4, 4, linear.bias.numel()))

    assert_is_torchs(encoder_of(name, enlarge), 1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_biases_of_zero_in_all_layers_are_no_obstacle(name: str) -> None:
    """Torch's trace keeps equal values once, for all layers and parts."""

    def clear(attention: torch.nn.Module) -> None:
        for part in ("query", "key", "value"):
            getattr(attention, part).bias.zero_()

    assert_is_torchs(encoder_of(name, clear), 3e-5)


@pytest.mark.parametrize("parts", [("query", "key"), ("query", "value"), ("key", "value")])
def test_equal_projections_are_torchs(parts: tuple[str, str]) -> None:
    """Torch's trace may keep them once."""
    first, second = parts

    def equalise(attention: torch.nn.Module) -> None:
        getattr(attention, second).load_state_dict(getattr(attention, first).state_dict())

    assert_is_torchs(encoder_of("plain-4h", equalise), 3e-5)


def test_one_product_for_two_parts_is_refused_and_never_wrong() -> None:
    """What the trace would be if equal parts were one: a value that is the key, bias included."""
    traced = trace.trace(encoder_of("plain-4h", lambda attention: None))
    for node in traced.graph.node:
        if node.op_type == "AlibiAttention":
            node.input[2] = node.input[1]
    with pytest.raises(ExportError, match="equal to each other"):
        optimize(traced)


def test_calibration_sees_the_attentions_output_without_the_values_bias() -> None:
    """As the graph has it: only the output's record differs, and only of the first layer, where inputs are the same."""
    ids = [np.random.default_rng(0).integers(400, size=50)]

    def set_bias(value: float) -> Callable[[torch.nn.Module], None]:
        return lambda attention: attention.value.bias.fill_(value)  # type: ignore[union-attr, operator]

    plain, shifted = (record_activations(encoder_of("plain-4h", set_bias(value)), ids)[0] for value in (0.0, 100.0))
    np.testing.assert_allclose(shifted.context.sample, plain.context.sample, atol=1e-4)
    np.testing.assert_allclose(shifted.context.largest, plain.context.largest, atol=1e-4)
    np.testing.assert_array_equal(shifted.attention.sample, plain.attention.sample)
