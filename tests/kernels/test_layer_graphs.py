"""Which operators a session takes over, and graphs whose layers the library refuses: they run as without it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import jinabert_onnx_kernels
import numpy as np
import onnx
import onnxruntime
import pytest
from jinabert_onnx import Embedder, KernelsError
from onnx import helper, numpy_helper
from support.native import NativeRuns
from support.paths import BUNDLES, TRAINED

pytestmark = pytest.mark.skipif(
    jinabert_onnx_kernels.layer_instructions(64) is None, reason="this processor has no native layers"
)

GRAPH = Path("onnx", "model_int8.onnx")
TEXTS = ["t5", "t6 t7 t8", "t9 " * 70, "t10 t11 " * 300]
LAYERS = 4  # of TRAINED
Change = Callable[[onnx.ModelProto], None]


def run_stock(entries: dict[str, str]) -> None:
    """Run a few tokens in a session with these entries of its configuration, and the library."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    options.register_custom_ops_library(str(jinabert_onnx_kernels.library_path()))
    session = onnxruntime.InferenceSession(TRAINED / GRAPH, options, providers=["CPUExecutionProvider"])
    ids = np.arange(5, 45).reshape(2, 20)
    session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})


@pytest.mark.parametrize(
    ("entries", "attention", "layers"),
    [
        ({}, LAYERS, 0),
        ({"jinabert.attention": "native", "jinabert.layers": "native"}, LAYERS, 2 * LAYERS),
        ({"jinabert.attention": "portable", "jinabert.layers": "native"}, 0, 2 * LAYERS),
        ({"jinabert.attention": "native", "jinabert.layers": "portable"}, LAYERS, 0),
        ({"jinabert.attention": "portable", "jinabert.layers": "portable"}, 0, 0),
    ],
)
def test_a_session_has_those_operators_natively_that_it_asks_for(
    entries: dict[str, str], attention: int, layers: int, native_runs: NativeRuns, layer_runs: NativeRuns
) -> None:
    run_stock(entries)
    assert (native_runs(), layer_runs()) == (attention, layers)


@pytest.mark.parametrize(
    ("name", "kernels", "attention", "layers"),
    [
        (TRAINED.name, "require", True, True),
        (TRAINED.name, "off", False, False),
        ("plain-4h", "auto", False, True),  # heads of 16 channels
        ("plain-4h", "off", False, False),
    ],
)
def test_what_runs_natively_is_what_kernels_says(
    name: str, kernels: str, attention: bool, layers: bool, native_runs: NativeRuns, layer_runs: NativeRuns
) -> None:
    model = Embedder.load(BUNDLES / name, precision="int8", kernels=kernels)
    model.encode(TEXTS)
    assert (model.kernels.native, model.kernels.native_layers) == (attention, layers)
    assert (native_runs() > 0, layer_runs() > 0) == (attention, layers)


def layer_node(model: onnx.ModelProto, operator: str) -> onnx.NodeProto:
    """Return the first node of an operator; the first letters of its name do."""
    return next(node for node in model.graph.node if node.op_type.startswith(operator))


def compute(model: onnx.ModelProto, operator: str, suffix: str) -> None:
    """Let a node compute one input, which it finds stored now."""
    node = layer_node(model, operator)
    place = next(place for place, name in enumerate(node.input) if name.endswith(suffix))
    identity = helper.make_node("Identity", [node.input[place]], [f"{suffix}.computed"])
    node.input[place] = identity.output[0]
    model.graph.node.insert(0, identity)


def reshape(model: onnx.ModelProto, suffix: str) -> None:
    """Store a vector as a matrix of one row, which standard operators read in the same way."""
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name.endswith(suffix)]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[None], tensor.name))


def name_another_activation(model: onnx.ModelProto) -> None:
    """Change the attribute, which kernels read; the body has the activation as a node."""
    (attribute,) = [each for each in layer_node(model, "QuantizedAfter").attribute if each.name == "activation"]
    attribute.s = b"Tanh"


def name_an_endless_activation(model: onnx.ModelProto) -> None:
    (attribute,) = [each for each in layer_node(model, "QuantizedAfter").attribute if each.name == "activation"]
    attribute.s = b"Gelu" * 1000


ODD: dict[str, tuple[Change, str]] = {
    "computed weight": (lambda model: compute(model, "QuantizedQuery", "query_key_value.weight"), "stored"),
    "computed smoothing": (lambda model: compute(model, "QuantizedQuery", "query_key_value.smoothing"), "stored"),
    "computed gate": (lambda model: compute(model, "QuantizedAfter", "gate.weight"), "stored"),
    "computed last norm": (lambda model: compute(model, "QuantizedAfter", "mlp.layernorm.bias"), "stored"),
    "smoothing of two axes": (
        lambda model: reshape(model, "layer.1.query_key_value.smoothing"),
        "no layers of this size",
    ),
    "bias of two axes": (lambda model: reshape(model, "layer.1.mlp.wo.bias"), "do not fit"),
    "another activation": (name_another_activation, "no such activation"),
    "endless activation": (name_an_endless_activation, "not large enough"),
}


def changed(folder: Path, change: Change) -> Path:
    """Copy a bundle, and change its int8 graph."""
    bundle = Path(shutil.copytree(BUNDLES / "plain-4h", folder / "bundle"))
    model = onnx.load(bundle / GRAPH)
    change(model)
    onnx.save(model, bundle / GRAPH)
    return bundle


@pytest.mark.parametrize("odd", ODD)
def test_layers_that_the_library_refuses_run_as_without_it_with_one_warning(
    odd: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, layer_runs: NativeRuns
) -> None:
    change, reason = ODD[odd]
    bundle = changed(tmp_path, change)
    model = Embedder.load(bundle, precision="int8", integrity="off")
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "native kernels are not used: onnxruntime refuses" in warning
    assert reason in warning
    assert not model.kernels.native_layers
    expected = Embedder.load(BUNDLES / "plain-4h", precision="int8", kernels="off").encode(TEXTS)
    np.testing.assert_array_equal(model.encode(TEXTS), expected)
    assert layer_runs() == 0


def test_where_kernels_are_required_a_refused_graph_is_an_error(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(TRAINED, tmp_path / "bundle"))
    model = onnx.load(bundle / GRAPH)
    name_another_activation(model)
    onnx.save(model, bundle / GRAPH)
    with pytest.raises(KernelsError, match="no such activation"):
        Embedder.load(bundle, precision="int8", integrity="off", kernels="require")


def cut(model: onnx.ModelProto, suffix: str, *sizes: int) -> None:
    """Leave the beginning of a weight, so much along each axis."""
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name.endswith(suffix)]
    corner = np.ascontiguousarray(numpy_helper.to_array(tensor)[tuple(map(slice, sizes))])
    tensor.CopyFrom(numpy_helper.from_array(corner, tensor.name))


@pytest.mark.parametrize(
    ("suffix", "rows", "columns"),
    [
        ("layer.0.query_key_value.weight", 64, 191),
        ("layer.0.query_key_value.weight", 64, 176),
        ("layer.0.query_key_value.weight", 48, 192),
        ("layer.0.query_key_value.weight", 0, 192),
        ("layer.0.output.weight", 32, 64),
        ("layer.0.gate.weight", 64, 112),
        ("layer.1.up.weight", 48, 128),
        ("layer.1.down.weight", 112, 64),
        ("layer.1.down.weight", 128, 48),
        ("layer.1.down.weight", 120, 64),
        ("layer.1.down.weight", 0, 0),
    ],
)
def test_weights_that_do_not_fit_each_other_are_refused_with_a_reason(
    suffix: str, rows: int, columns: int, tmp_path: Path
) -> None:
    bundle = changed(tmp_path, lambda model: cut(model, suffix, rows, columns))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.add_session_config_entry("jinabert.layers", "native")
    options.register_custom_ops_library(str(jinabert_onnx_kernels.library_path()))
    with pytest.raises(Exception, match=r"do not fit each other|no multiple of 16|no layers of this size"):
        onnxruntime.InferenceSession(bundle / GRAPH, options, providers=["CPUExecutionProvider"])


def test_an_inner_width_that_fills_no_tile_runs_portably(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, layer_runs: NativeRuns
) -> None:
    def narrow(model: onnx.ModelProto) -> None:
        for name in ("gate", "up"):
            cut(model, f"layer.1.{name}.weight", 64, 120)
            cut(model, f"layer.1.{name}.scale", 120)
        cut(model, "layer.1.down.weight", 120, 64)

    bundle = changed(tmp_path, narrow)
    native, portable = (
        Embedder.load(bundle, precision="int8", kernels=kernels, integrity="off", self_test=False)
        for kernels in ("auto", "off")
    )
    np.testing.assert_array_equal(native.encode(TEXTS), portable.encode(TEXTS))
    assert "a size that is no multiple of 16" in native.kernels.layers_reason
    assert "a size that is no multiple of 16" in caplog.text
    assert layer_runs() == 0
