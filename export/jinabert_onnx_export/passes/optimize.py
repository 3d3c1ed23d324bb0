"""The traced graph to the ones that are shipped for CPUs: packed tokens, fewer and larger products, token blocks.

The passes in their order, and the operators that the finished files carry. Each pass is in a module of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import onnx
import onnx_ir as ir

from jinabert_onnx_export.errors import ExportError
from jinabert_onnx_export.int8.activations import LayerActivations
from jinabert_onnx_export.operators.domain import called_from
from jinabert_onnx_export.operators.feed_forward import feed_forward_functions
from jinabert_onnx_export.operators.int8 import int8_functions
from jinabert_onnx_export.operators.packed_attention import packed_functions

from .feed_forward import block_feed_forward
from .graph_values import drop_unused
from .packing import pack
from .projections import join_projections
from .quantize import quantize

_EQUAL_WEIGHTS = "are weights of this checkpoint equal to each other?"  # torch merges such


def optimize(traced: onnx.ModelProto, layers: Sequence[LayerActivations] | None = None) -> onnx.ModelProto:
    """The fast form of a traced fp32 encoder: fp32, or int8 where `layers` tell what its linear layers are fed.

    Raises:
        ExportError: the trace has a form that the passes do not know.
    """
    model = ir.from_proto(traced)
    model.functions.clear()  # the padded attention's
    try:
        activation = block_feed_forward(model)
        join_projections(model)
        pack(model)
    except ValueError as error:
        raise ExportError(f"the traced graph has an unexpected form ({error}); {_EQUAL_WEIGHTS}") from error
    _require_form(model)
    if layers is not None:
        quantize(model, layers)
    drop_unused(model)
    fast = ir.to_proto(model)
    products = feed_forward_functions(activation) if layers is None else int8_functions(activation)
    fast.functions.extend(called_from(fast, [*packed_functions(), *products]))
    return fast


def _require_form(model: ir.Model) -> None:
    """Refuse a trace that the passes do not know, such as one in which torch has merged equal weights.

    Raises:
        ExportError: the layers' parts are not as many as the layers.
    """
    counts = Counter(node.op_type for node in model.graph)
    layers = counts["AlibiAttention"]
    expected = {"GatedFeedForward": layers, "MatMul": 2 * layers, "Split": layers}
    for name, count in expected.items():
        if counts[name] != count:
            raise ExportError(
                f"the traced graph has {counts[name]} {name} nodes where {count} were expected; {_EQUAL_WEIGHTS}"
            )
