"""The machine's ceiling: rates of matrix products, and how long the products of some texts take at them.

Rates are the best of several runs of onnxruntime's own products at 512 rows. Counted are the linear layers and the
whole of the attention, every query with every key, of real tokens; nothing else. Attention is float32 also in int8.
Knows nothing of sessions of models.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from jinabert_onnx.bundle.manifest import Bundle
from jinabert_onnx.engine import providers
from jinabert_onnx.engine.memory_model import memory_model

from .gemm import Array, product_file

ROWS = 512
PRODUCTS = ((768, 6144), (3072, 768))  # inner size, columns: the two large layers of base size
_FIRST_RUNS, _RUNS = 25, 4  # of each product: at the beginning, and once a round
_LARGEST = 1 << 20  # a feed-forward wider than this is none


@dataclass(frozen=True)
class Sizes:
    """What the operations of an encoder depend on: channels, layers, inner width of the feed-forward."""

    hidden: int
    layers: int
    intermediate: int

    def linear_operations(self, lengths: Sequence[int]) -> int:
        """Return the multiplications and additions of all linear layers, the gated feed-forward's too."""
        by_token = 4 * self.hidden**2 + 3 * self.hidden * self.intermediate
        return 2 * self.layers * by_token * sum(lengths)

    def attention_operations(self, lengths: Sequence[int]) -> int:
        """Return the multiplications and additions of full attention: scores, and weighted values."""
        return 2 * self.layers * 2 * self.hidden * sum(length**2 for length in lengths)


@dataclass(frozen=True)
class Rates:
    """Operations a second of float32 products, and of u8 x s8 products."""

    fp32: float
    int8: float

    def seconds(self, sizes: Sizes, lengths: Sequence[int], precision: str) -> float:
        """Return the least time of the products of texts of such lengths; fp16 runs as float32 on a CPU."""
        linear = sizes.linear_operations(lengths) / (self.int8 if precision == "int8" else self.fp32)
        return linear + sizes.attention_operations(lengths) / self.fp32


def sizes_of(bundle: Bundle) -> Sizes:
    """Return the sizes of a bundle's encoder: the manifest's, and `config.json`'s for the feed-forward.

    Where that file does not tell, the sizes of the weights do, nearly.
    """
    model = bundle.manifest.model
    try:
        intermediate = json.loads((bundle.path / "config.json").read_bytes())["intermediate_size"]
    except (OSError, ValueError, KeyError, TypeError):
        intermediate = None
    if not isinstance(intermediate, int) or not 1 <= intermediate <= _LARGEST:
        intermediate = memory_model(bundle.manifest, next(iter(bundle.manifest.precisions))).inner_size
    return Sizes(model.hidden_size, model.num_hidden_layers, intermediate)


class Ceiling:
    """The products of one number of threads, ready to be timed again and again."""

    def __init__(self, threads: int) -> None:
        """Open one session for each product and kind.

        Raises:
            MissingDependencyError: onnxruntime is not installed.
        """
        self.threads = threads
        self._fp32 = [_Product(threads, *_float_product(*shape)) for shape in PRODUCTS]
        self._int8 = [_Product(threads, *_integer_product(*shape)) for shape in PRODUCTS]

    def measure(self, first: bool = False) -> Rates:
        """Return the best of some runs: more of them the `first` time, when nothing is warm."""
        runs = _FIRST_RUNS if first else _RUNS
        return Rates(*(max(product.rate(runs) for product in products) for products in (self._fp32, self._int8)))


class _Product:
    def __init__(self, threads: int, model: bytes, rows: Array, columns: int) -> None:
        self._feeds = {"rows": rows}
        self._operations = 2 * rows.size * columns
        # In a thread that ends: the first session of a process leaves denormal floats off where it is made.
        with ThreadPoolExecutor(1) as other:
            self._session: Any = other.submit(_open, model, threads).result()

    def rate(self, runs: int) -> float:
        best = float("inf")
        for _ in range(runs):
            start = time.perf_counter()
            self._session.run(None, self._feeds)
            best = min(best, time.perf_counter() - start)
        return self._operations / best


def _open(model: bytes, threads: int) -> Any:
    onnxruntime = providers.import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # As the models' sessions: idle threads must not take time from them.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "50")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _float_product(inner: int, columns: int) -> tuple[bytes, Array, int]:
    generator = np.random.default_rng(0)
    weights: dict[str, Array] = {"weight": generator.standard_normal((inner, columns), np.float32)}
    rows = generator.standard_normal((ROWS, inner), np.float32)
    return product_file("MatMul", "", ["rows", "weight"], rows, weights), rows, columns


def _integer_product(inner: int, columns: int) -> tuple[bytes, Array, int]:
    """u8 rows, s8 weights with a scale a column, float32 result: what int8 layers are made of."""
    generator = np.random.default_rng(0)
    weights: dict[str, Array] = {
        "weight": generator.integers(-127, 128, (inner, columns), np.int8),
        "row_scale": np.array(0.01, np.float32),
        "weight_scale": np.full(columns, 0.01, np.float32),
        "row_zero": np.array(128, np.uint8),
        "weight_zero": np.zeros(columns, np.int8),
    }
    rows = generator.integers(0, 256, (ROWS, inner), np.uint8)
    names = ["rows", "weight", "row_scale", "weight_scale", "row_zero", "weight_zero"]
    return product_file("MatMulIntegerToFloat", "com.microsoft", names, rows, weights), rows, columns
