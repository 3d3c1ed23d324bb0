"""What int8 is fitted to: which rows are kept, and how much each matters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import GOLDENS
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder.alibi import alibi_attention, alibi_slopes, received_attention
from jinabert_onnx_export.int8.activations import SAMPLE_ROWS, Activations, record_activations
from jinabert_onnx_export.int8.rounding import Floats, quantize_rows, quantize_weight
from jinabert_onnx_export.int8.smoothing import best_smoothing


@pytest.mark.parametrize("length", [1, 7, 128, 129, 300])
def test_received_attention_is_what_values_are_multiplied_with(length: int) -> None:
    """A value of 1 at one key gives each query its weight of that key; their mean is what the key gets."""
    generator = torch.Generator().manual_seed(length)
    query, key = (2 * torch.randn(1, length, 24, generator=generator) for _ in range(2))
    mask, slopes = torch.ones(1, length, dtype=torch.bool), alibi_slopes(3)
    received = received_attention(query, key, mask, slopes)
    assert received.shape == (1, 3, length)
    torch.testing.assert_close(received.sum(-1), torch.ones(1, 3))
    for place in {0, length // 2, length - 1}:
        value = torch.zeros(1, length, 24)
        value[0, place] = 1
        contexts = alibi_attention(query, key, value, mask, slopes).view(length, 3, 8)  # (tokens, heads, head size)
        torch.testing.assert_close(contexts.mean(0)[:, 0], received[0, :, place])


@pytest.mark.parametrize("variant", ["plain-4h", "qk-post-norm-12h"])
def test_as_many_rows_are_kept_as_there_is_room_for(variant: str) -> None:
    encoder = open_checkpoint(GOLDENS / variant).load_encoder()
    for tokens in ([5], [3, 90, 1], [700, 700, 700]):
        ids = [np.random.default_rng(length).integers(400, size=length) for length in tokens]
        for layer in record_activations(encoder, ids):
            for site in (layer.attention, layer.context, layer.feed_forward, layer.wide):
                assert abs(len(site.sample) - min(SAMPLE_ROWS, sum(tokens))) <= 1
                assert (np.abs(site.sample) <= site.largest).all()


def test_tokens_that_get_much_attention_are_kept_more_often() -> None:
    """The trained model looks at the special tokens, at both ends of a text; other layers are fed evenly."""
    checkpoint = open_checkpoint(GOLDENS.parent / "tiny-de-en")
    ids = [np.array([0, *np.random.default_rng(seed).integers(3, 9000, size=18), 2]) for seed in range(10)]
    layer = record_activations(checkpoint.load_encoder(), ids)[1]
    assert 0.3 < share_of_repeats(layer.attention.sample) < 0.6
    assert share_of_repeats(layer.feed_forward.sample) == 0


def share_of_repeats(rows: Floats) -> float:
    return 1 - len(np.unique(rows, axis=0)) / len(rows)


def test_typical_sizes_serve_rows_that_matter_more() -> None:
    """Half of the rows have one loud channel; the largest values of the others come from rows that matter little."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(400, 32)).astype(np.float32)
    rows[::2, 3] += 20
    largest = np.full(32, np.abs(rows).max(), np.float32)
    weight = generator.normal(size=(32, 16)).astype(np.float32)
    inputs = Activations(largest, rows)
    assert error(rows, weight, best_smoothing(inputs, weight, typical=True)) < 0.5 * error(
        rows, weight, best_smoothing(inputs, weight)
    )


def error(rows: Floats, weight: Floats, factors: Floats) -> float:
    integers, scale = quantize_weight(weight * factors[:, None])
    return float(np.square(quantize_rows(rows / factors) @ (integers * scale) - rows @ weight).mean())
