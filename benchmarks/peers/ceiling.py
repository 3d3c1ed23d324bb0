"""The machine's physical ceiling: measured rates of matrix products, and how long a model's products take at them.

    PYTHONPATH=benchmarks python -m peers.ceiling THREADS     (asked by side_by_side.py; prints JSON)

Rates are the best of many runs of onnxruntime's own products at 512 rows. Counted are the linear layers and the
whole of the attention, every query with every key, of real tokens; nothing else. Attention is float32 also in int8.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 512
PRODUCTS = ((768, 6144), (3072, 768))  # inner size, columns: the two large layers of base size
RUNS = 25


@dataclass(frozen=True)
class Sizes:
    """What the cost of an encoder depends on."""

    hidden: int
    layers: int
    intermediate: int
    vocabulary: int

    @classmethod
    def read(cls, config: Path) -> Sizes:
        """From a checkpoint's `config.json`."""
        content = json.loads(config.read_text("utf-8"))
        names = ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size")
        return cls(*(content[name] for name in names))

    def linear_operations(self, lengths: Sequence[int]) -> int:
        """Multiplications and additions of the linear layers, gated feed-forward included."""
        by_token = 4 * self.hidden**2 + 3 * self.hidden * self.intermediate
        return 2 * self.layers * by_token * sum(lengths)

    def attention_operations(self, lengths: Sequence[int]) -> int:
        """Multiplications and additions of full attention: scores, and weighted values."""
        return 2 * self.layers * 2 * self.hidden * sum(length**2 for length in lengths)


def ceiling_milliseconds(sizes: Sizes, lengths: Sequence[int], rates: dict[str, float]) -> dict[str, float]:
    """The least time of the texts' products at the measured `rates` (operations a second), by kind of peer."""
    linear, attention = sizes.linear_operations(lengths), sizes.attention_operations(lengths)
    exact = 1000 * attention / rates["fp32"]
    times = {kind: 1000 * linear / rates[kind] + exact for kind in ("fp32", "int8")}
    return {kind: round(milliseconds, 2) for kind, milliseconds in times.items()}


def measure(threads: int) -> dict[str, float]:
    """Operations a second of float32 and of u8 x s8 products, each the best of its shapes and runs."""
    rates = {}
    for kind, build in (("fp32", _float_product), ("int8", _integer_product)):
        rates[kind] = max(_rate(*build(inner, columns), inner, columns, threads) for inner, columns in PRODUCTS)
    return rates


def _rate(model: bytes, feeds: dict[str, Any], inner: int, columns: int, threads: int) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    best = float("inf")
    for _ in range(RUNS):
        start = time.perf_counter()
        session.run(None, feeds)
        best = min(best, time.perf_counter() - start)
    return 2 * ROWS * inner * columns / best


def _float_product(inner: int, columns: int) -> tuple[bytes, dict[str, Any]]:
    generator = np.random.default_rng(0)
    weights = {"weight": generator.standard_normal((inner, columns), np.float32)}
    rows = generator.standard_normal((ROWS, inner), np.float32)
    return _model("MatMul", ["rows", "weight"], weights, rows), {"rows": rows}


def _integer_product(inner: int, columns: int) -> tuple[bytes, dict[str, Any]]:
    """u8 rows, s8 weights with a scale a column, float32 result: what int8 layers are made of."""
    generator = np.random.default_rng(0)
    weights: dict[str, Any] = {
        "weight": generator.integers(-127, 128, (inner, columns), np.int8),
        "row_scale": np.float32(0.01),
        "weight_scale": np.full(columns, 0.01, np.float32),
        "row_zero": np.uint8(128),
        "weight_zero": np.zeros(columns, np.int8),
    }
    rows = generator.integers(0, 256, (ROWS, inner), np.uint8)
    names = ["rows", "weight", "row_scale", "weight_scale", "row_zero", "weight_zero"]
    return _model("MatMulIntegerToFloat", names, weights, rows, "com.microsoft"), {"rows": rows}


def _model(operator: str, names: list[str], weights: dict[str, Any], rows: Any, domain: str = "") -> bytes:
    """An ONNX file of one product."""
    from onnx import TensorProto, helper, numpy_helper

    node = helper.make_node(operator, names, ["product"], domain=domain)
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("rows", helper.np_dtype_to_tensor_dtype(rows.dtype), rows.shape)],
        [helper.make_tensor_value_info("product", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    domains = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model: bytes = helper.make_model(graph, opset_imports=domains, ir_version=9).SerializeToString()
    return model


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
