"""The int8 graph of a trained checkpoint: close to fp32, small, safe on any CPU, fitted to the texts it is given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import GOLDENS, Run, error_of, stock_session
from jinabert_onnx import Embedder
from jinabert_onnx.engine.session import open_session
from jinabert_onnx_export import export
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder import trace
from jinabert_onnx_export.int8.activations import LayerActivations, record_activations
from jinabert_onnx_export.int8.calibration import read_calibration_texts
from jinabert_onnx_export.passes.optimize import optimize
from jinabert_onnx_export.verify.reference import calibration_ids, tokenize
from onnx import TensorProto, numpy_helper
from support.broken_graphs import nested
from support.references import cosines

TINY = GOLDENS.parent / "tiny-de-en"
SMALL = GOLDENS / "plain-4h"
OWN_TEXTS = ["t7 t8 t9 t10", "t300 t301 " * 40, "t55"]
MIN_COSINE = 0.9995
MEAN_ERROR = 5.8e-5  # of 1 - cosine: 5.2e-5, and 6.7e-5 where tokens count without regard to who reads them
MOST_OF_FP32 = 0.26
MOST_OF_A_PAIR = 128  # 255 * 128 is below 2^15


@dataclass(frozen=True)
class Trained:
    """The trained checkpoint's files, token ids of some texts, and what stock sessions make of each text alone."""

    paths: dict[str, Path]  # by precision
    ids: list[np.ndarray]
    vectors: dict[str, np.ndarray]  # by precision, (texts, hidden)


def stock_vectors(path: Path, texts: Sequence[np.ndarray], options: object = None) -> np.ndarray:
    session = stock_session(path, options)
    outputs = [session.run(None, {"input_ids": ids[None], "attention_mask": np.ones_like(ids)[None]}) for ids in texts]
    return np.stack([output[0].mean(axis=0, dtype=np.float64) for (output,) in outputs])


def layers_of(source: Path, texts: Sequence[str]) -> list[LayerActivations]:
    checkpoint = open_checkpoint(source)
    return record_activations(checkpoint.load_encoder(), calibration_ids(checkpoint, texts))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    directory = tmp_path_factory.mktemp("int8")
    checkpoint = open_checkpoint(TINY)
    traced = trace.trace(checkpoint.load_encoder())
    layers = layers_of(TINY, read_calibration_texts())
    texts = json.loads((TINY / "golden.json").read_text("utf-8"))["texts"]
    held_out = json.loads((TINY / "heldout.json").read_text("utf-8"))
    texts += ["a", *(pair["de"] for pair in held_out["pairs"][:20]), *sorted(held_out["long"], key=len)[:2]]
    paths = {"fp32": directory / "model.onnx", "int8": directory / "model_int8.onnx"}
    trace.save(optimize(traced), paths["fp32"])
    trace.save(optimize(traced, layers), paths["int8"])
    ids = tokenize(checkpoint, texts)
    return Trained(paths, ids, {precision: stock_vectors(path, ids) for precision, path in paths.items()})


def stored(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_model(path).graph.initializer}


def test_int8_vectors_point_where_fp32_ones_do(trained: Trained) -> None:
    """Texts of 3 to more than 1000 tokens, German and English, none of which is a calibration text."""
    lengths = [len(ids) for ids in trained.ids]
    assert min(lengths) <= 3
    assert max(lengths) > 1000
    found = cosines(trained.vectors["int8"], trained.vectors["fp32"])
    assert found.min() >= MIN_COSINE
    assert 1 - found.mean() <= MEAN_ERROR


@pytest.mark.parametrize("length", [3, 4, 16, 127, 128, 129, 511, 512, 513, 640])
def test_int8_is_as_close_at_every_length(trained: Trained, length: int) -> None:
    """Of long texts, cut as the runtime cuts them: the last token stays."""
    ids = [np.append(ids[: length - 1], ids[-1]) for ids in trained.ids if len(ids) > 640]
    assert len(ids) >= 2
    vectors = [stock_vectors(path, ids) for path in trained.paths.values()]
    assert cosines(*vectors).min() >= MIN_COSINE


def test_the_int8_file_is_a_quarter_of_the_fp32_one(trained: Trained) -> None:
    assert trained.paths["int8"].stat().st_size <= MOST_OF_FP32 * trained.paths["fp32"].stat().st_size


def test_every_weight_of_a_product_is_bytes_and_safe_in_pairs(trained: Trained) -> None:
    """No linear layer was left in float, and none can saturate on a processor without VNNI."""
    model, tensors = onnx.load_model(trained.paths["int8"]), stored(trained.paths["int8"])
    weights = [tensors[name] for name in products_inputs(model)]
    assert len(weights) == 5 * 4  # a layer: Q, K and V at once, the attention's output, gate, up and down
    for weight in weights:
        first, second = weight[0::2].astype(int), weight[1::2].astype(int)
        assert np.abs(np.where(first * second > 0, first + second, 0)).max() <= MOST_OF_A_PAIR
        assert np.abs(weight.astype(int)).max() in range(64, 128)
    assert max(array.size for array in tensors.values() if array.dtype == np.float32) <= 3 * 256
    assert not {"MatMul", "Gemm"} & {node.op_type for node in model.graph.node}


def products_inputs(model: onnx.ModelProto) -> list[str]:
    """The names of int8 matrices that a quantised product reads."""
    matrices = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 2
    }
    products = ("QuantizedQueryKeyValue", "QuantizedAfterAttention")
    read = [name for node in model.graph.node if node.op_type in products for name in node.input if name in matrices]
    assert len(read) == len(set(read))
    (table,) = matrices - set(read)
    assert table == table_of(model)
    return read


def table_of(model: onnx.ModelProto) -> str:
    (node,) = (node for node in model.graph.node if node.op_type == "QuantizedEmbedding")
    return str(node.input[0])


def test_the_embedding_table_is_bytes(trained: Trained) -> None:
    """Each block of 64 channels of a word has a scale in half precision, and is off by half a step at most."""
    name = table_of(onnx.load_model(trained.paths["int8"]))
    tensors = stored(trained.paths["int8"])
    table, scale = tensors[name], tensors[name.replace("bytes", "scale")]
    words = open_checkpoint(TINY).load_encoder().embeddings.word_embeddings.weight.detach().numpy()
    assert (table.dtype, table.shape) == (np.int8, words.shape)
    assert (scale.dtype, scale.shape) == (np.float16, (len(words), 256 // 64))
    steps = np.repeat(scale.astype(np.float32), 64, axis=1)
    assert (np.abs(table * steps - words) <= 0.5001 * steps).all()
    assert not any(
        array.shape[0] == len(words) for array in tensors.values() if array.dtype == np.float32 and array.ndim
    )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_stock_options_give_the_vectors_of_ours(trained: Trained, precision: str) -> None:
    session = open_session(trained.paths[precision], precision, "cpu")
    ours = [session.run(ids[None], np.ones_like(ids)[None])[0].mean(axis=0, dtype=np.float64) for ids in trained.ids]
    assert cosines(np.stack(ours), trained.vectors[precision]).min() > 0.9999999


def test_sessions_without_optimisation_give_the_same_vectors(trained: Trained) -> None:
    """Other runtimes fuse other operators, or none."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    short = [len(ids) < 100 for ids in trained.ids]
    ids = [ids for ids, chosen in zip(trained.ids, short, strict=True) if chosen]
    vectors = stock_vectors(trained.paths["int8"], ids, options)
    assert cosines(vectors, trained.vectors["int8"][short]).min() > 0.9999999


def test_the_int8_file_keeps_names_types_and_axes(trained: Trained) -> None:
    models = [onnx.load_model(path) for path in (trained.paths["int8"], trained.paths["fp32"])]
    for part in ("input", "output"):
        first, second = ([value.SerializeToString() for value in getattr(model.graph, part)] for model in models)
        assert first == second
    versions = {entry.domain: entry.version for entry in models[0].opset_import}
    assert versions == {"": 23, "jinabert": 3, "com.microsoft": 1}
    onnx.checker.check_model(models[0])
    bodies = {function.name for function in models[0].functions}
    used = {node.op_type for node in models[0].graph.node if node.domain}
    assert used == bodies
    for function in models[0].functions:
        assert "jinabert" not in {node.domain for node in nested(function.node)}, function.name


def quantised(source: Path, texts: Sequence[str]) -> bytes:
    """The int8 graph, from the checkpoint on."""
    return optimize(trace.trace(open_checkpoint(source).load_encoder()), layers_of(source, texts)).SerializeToString()


@pytest.fixture(scope="module")
def shipped() -> bytes:
    """The int8 graph of the small checkpoint with the texts that come with the exporter."""
    return quantised(SMALL, read_calibration_texts())


def test_the_same_export_gives_the_same_bytes(shipped: bytes) -> None:
    assert quantised(SMALL, read_calibration_texts()) == shipped


def test_int8_is_fitted_to_the_users_own_texts(tmp_path: Path, shipped: bytes) -> None:
    """The file is what those texts give, and not what the shipped ones do."""
    (tmp_path / "own.txt").write_text("\n".join(OWN_TEXTS), "utf-8")
    export(SMALL, tmp_path / "out", ("int8",), calibration=tmp_path / "own.txt")
    found = onnx.load_model(tmp_path / "out" / "onnx" / "model_int8.onnx").SerializeToString()
    assert found == quantised(SMALL, OWN_TEXTS)
    assert found != shipped
    assert np.isfinite(Embedder.load(tmp_path / "out", precision="int8").encode(OWN_TEXTS)).all()


@pytest.mark.parametrize(
    ("content", "words"), [(None, "own.txt: no such file"), (b"\n \n", "own.txt: no text to calibrate with")]
)
def test_calibration_texts_that_cannot_be_read_are_one_error(
    run: Run, tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "own.txt"
    if content is not None:
        file.write_bytes(content)
    before = sorted(tmp_path.iterdir())
    result = run("export", SMALL, tmp_path / "out", "--precision", "int8", "--calibration", file)
    assert words in error_of(result)
    assert result.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
