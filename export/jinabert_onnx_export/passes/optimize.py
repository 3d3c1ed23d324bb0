"""The traced graph to the ones that are shipped for CPUs: packed tokens, fewer and larger products, token blocks.

The passes in their order, and the operators that the finished files carry. Each pass is in a module of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir

from jinabert_onnx_export.errors import ExportError
from jinabert_onnx_export.int8.activations import LayerActivations
from jinabert_onnx_export.operators.domain import called_from
from jinabert_onnx_export.operators.feed_forward import feed_forward_functions
from jinabert_onnx_export.operators.int8 import int8_functions
from jinabert_onnx_export.operators.int8_layers import layer_functions
from jinabert_onnx_export.operators.packed_attention import packed_functions

from .feed_forward import BLOCK_FEED_FORWARD, traced_activation
from .graph_pass import run_passes
from .graph_values import drop_unused
from .layers import layer_joining
from .packing import PACK
from .projections import JOIN_PROJECTIONS
from .quantize import quantization

FP32_PASSES = (BLOCK_FEED_FORWARD, JOIN_PROJECTIONS, PACK)


def optimize(traced: onnx.ModelProto, layers: Sequence[LayerActivations] | None = None) -> onnx.ModelProto:
    """Return the fast form of a traced fp32 encoder.

    Args:
        traced: the trace, which is left as it is.
        layers: what each layer's linear layers are fed, for int8; None for fp32.

    Raises:
        ExportError: the trace has a form that the passes do not know, such as one in which torch has merged equal
            weights.
    """
    model = ir.from_proto(traced)
    model.functions.clear()  # the padded attention's
    activation = _activation_of(model)
    int8_passes = () if layers is None else (quantization(layers), layer_joining(activation))
    run_passes(model, (*FP32_PASSES, *int8_passes))
    drop_unused(model)
    fast = ir.to_proto(model)
    products = (
        feed_forward_functions(activation) if layers is None else [*int8_functions(activation), *layer_functions()]
    )
    fast.functions.extend(called_from(fast, [*packed_functions(), *products]))
    return fast


def _activation_of(model: ir.Model) -> str:
    try:
        return traced_activation(model)
    except ValueError as error:
        raise ExportError(f"the traced graph has an unexpected form ({error})") from error
