"""How many bytes of rows the native layers round otherwise than the graph's QuantizeLinear, on the trained checkpoint.

The graph's own operators run, and give out what they round and the bytes it becomes. numpy rounds the same numbers as
`quantize_row` of `native/source/layers/rows.h` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest
from jinabert_onnx.engine.batching import pad
from jinabert_onnx.text.tokenizer import Tokenizer
from numpy.typing import NDArray
from onnx import TensorProto, helper
from support.paths import CHECKPOINT, TRAINED

SHIFT = 1.5 * 2**23 + 128  # leaves no bits for a fraction: the lowest byte is the whole number, around 128
LAYERS = 4
TEXTS = 200


def rounded_natively(x: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round rows (rows, channels): times the reciprocal of the largest, then by 127 and shifted with one rounding."""
    with np.errstate(divide="ignore"):
        reciprocal = np.float32(1) / np.abs(x).max(axis=-1, keepdims=True)
    shifted = ((x * reciprocal).astype(np.float64) * 127 + SHIFT).astype(np.float32)
    return (shifted.view(np.uint32) & 0xFF).astype(np.uint8)


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in graph.node for name in node.output}


def give_out_rows(graph: onnx.GraphProto) -> list[tuple[str, str]]:
    """Add outputs to a graph: what its QuantizeLinear nodes have divided by its largest, and the bytes; their names."""
    made, pairs = producers(graph), []
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            source = made[node.input[0]].input[0]  # divided = Mul(source, Reciprocal(largest))
            pairs.append((source, node.output[0]))
            graph.output.append(helper.make_tensor_value_info(source, TensorProto.FLOAT, None))
            graph.output.append(helper.make_tensor_value_info(node.output[0], TensorProto.UINT8, None))
    return pairs


def give_out_all_rows(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """The same, with what the feed-forwards round block by block, (blocks, rows of a block, channels)."""
    pairs = give_out_rows(model.graph)
    for number, scan in enumerate(node for node in model.graph.node if node.op_type == "Scan"):
        (body,) = [attribute.g for attribute in scan.attribute if attribute.name == "body"]
        for place, inner in enumerate(give_out_rows(body)):
            names = (f"source.{number}.{place}", f"bytes.{number}.{place}")
            scan.output.extend(names)
            for name, kind in zip(names, (TensorProto.FLOAT, TensorProto.UINT8), strict=True):
                model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
            pairs.append(names)
            assert len(inner) == 2
    return pairs


@pytest.fixture(scope="module")
def rows() -> list[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """What is rounded, (rows, channels), and the bytes, of every product of every layer."""
    model = onnx.inliner.inline_local_functions(onnx.load(TRAINED / "onnx" / "model_int8.onnx"))
    pairs = give_out_all_rows(model)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [name for pair in pairs for name in pair]
    collected: list[list[NDArray[np.float32]]] = [[] for _ in names]
    for ids, mask in batches():
        values = session.run(names, {"input_ids": ids, "attention_mask": mask})
        for parts, value in zip(collected, values, strict=True):
            parts.append(value.reshape(-1, value.shape[-1]))
    whole = [np.concatenate(parts) for parts in collected]
    return list(zip(whole[::2], whole[1::2], strict=True))


def batches() -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return held-out sentences as batches of token ids and masks."""
    sentences = json.loads((CHECKPOINT / "heldout.json").read_text("utf-8"))["sentences"]
    tokenizer = Tokenizer(TRAINED / "tokenizer.json")
    ids = tokenizer([sentence["text"] for sentence in sentences[:TEXTS]], 8192).input_ids
    for first in range(0, len(ids), 20):
        yield pad(ids[first : first + 20])


def test_a_few_bytes_in_a_million_are_rounded_otherwise_and_by_one(
    rows: list[tuple[NDArray[np.float32], NDArray[np.uint8]]],
) -> None:
    assert len(rows) == 4 * LAYERS
    total = different = 0
    for source, expected in rows:
        found = rounded_natively(source)[np.abs(source).max(axis=-1) > 0]  # a row of zeros may be any bytes
        apart = np.abs(found.astype(int) - expected[np.abs(source).max(axis=-1) > 0])
        assert apart.max() <= 1
        total, different = total + apart.size, different + int((apart > 0).sum())
    assert total > 1e7
    assert different < 10e-6 * total  # 16 of 23.7 million were counted (benchmarks/README.md)
