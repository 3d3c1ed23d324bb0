"""Bundles of sentence-transformers fine-tunes whose vectors go through Dense layers after pooling."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import BundleError, Embedder, InputError, TruncationWarning
from jinabert_onnx.bundle.fingerprint import fingerprint_of
from jinabert_onnx.bundle.manifest import DENSE_ACTIVATIONS, open_bundle
from jinabert_onnx.encoding.dense import DenseLayer, apply_dense
from numpy.typing import NDArray
from support.bundles import edit_json, flip_a_byte, record_again
from support.paths import BUNDLES, DENSE_GOLDEN

BUNDLE = BUNDLES / DENSE_GOLDEN.name
WEIGHTS = "2_Dense/model.safetensors"
TEXTS: list[str] = json.loads((DENSE_GOLDEN / "golden_texts.json").read_text("utf-8"))["texts"]
HIDDEN, WIDTH = 64, 40

pytestmark = pytest.mark.filterwarnings(f"ignore::{TruncationWarning.__module__}.TruncationWarning")


@pytest.fixture(scope="module")
def dense() -> Embedder:
    return Embedder.load(BUNDLE)


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    with np.load(DENSE_GOLDEN / "golden.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def dense_copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUNDLE, tmp_path / "bundle"))


def is_golden(vectors: NDArray[np.float32], golden: dict[str, NDArray[np.float32]]) -> None:
    assert vectors.shape == (len(TEXTS), WIDTH)
    for name in ("embeddings", "embeddings_float64", "encode_batched"):
        np.testing.assert_allclose(vectors, golden[name], rtol=0, atol=2e-5)


def test_the_command_line_gives_the_golden_vectors(golden: dict) -> None:
    command = [sys.executable, "-m", "jinabert_onnx", "embed", str(BUNDLE), *TEXTS]
    rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    is_golden(np.array([json.loads(row)["embedding"] for row in rows], dtype=np.float32), golden)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_batches_give_the_golden_vectors_and_long_texts_are_cut_as_the_original_cuts(
    dense: Embedder, golden: dict, batch_size: int
) -> None:
    assert dense.max_seq_length == golden["lengths"].max() == 256
    is_golden(dense.encode(TEXTS, batch_size=batch_size), golden)


def test_each_text_alone_and_a_stream_give_the_golden_vectors(dense: Embedder, golden: dict) -> None:
    is_golden(np.stack([dense.encode(text) for text in TEXTS]), golden)
    is_golden(np.stack(list(dense.encode_stream(TEXTS))), golden)


@pytest.mark.parametrize(("precision", "least"), [("int8", 0.99), ("fp16", 0.9999)])
def test_other_precisions_point_the_same_way(golden: dict, precision: str, least: float) -> None:
    with Embedder.load(BUNDLE, precision=precision) as model:
        assert model.similarity(model.encode(TEXTS), golden["embeddings"]).diagonal().min() > least


def test_widths_are_those_of_the_last_layer_and_tokens_keep_the_encoders(dense: Embedder) -> None:
    assert dense.get_sentence_embedding_dimension() == WIDTH
    assert dense.encode("a text", truncate_dim=8).shape == (8,)
    with pytest.raises(InputError, match=f"truncate_dim is 41; it must be from 1 to {WIDTH}"):
        dense.encode("a text", truncate_dim=41)
    assert dense.encode("a text", output_value="token_embeddings").shape[1] == HIDDEN
    assert dense.encode("a text", output_value="token_embeddings", truncate_dim=50).shape[1] == 50
    assert dense.encode(["a text"], output_dtype="binary").shape == (1, WIDTH // 8)


def test_late_chunks_and_means_of_windows_go_through_the_layers(dense: Embedder) -> None:
    text = "It is late. They said so."
    rows = dense.encode(text, output_value="token_embeddings")
    whole = dense.encode_chunks(text, [(0, len(text))]).vectors
    np.testing.assert_allclose(whole[0], apply_dense(dense.loaded.dense, rows[1:-1].mean(axis=0)[None])[0], atol=1e-5)
    long = " ".join(TEXTS)
    assert dense.encode(long, truncation="mean").shape == (WIDTH,)


def test_info_tells_the_layers() -> None:
    command = [sys.executable, "-m", "jinabert_onnx", "info", str(BUNDLE)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "40 channels, mean pooling, Dense to 40 channels (Tanh), not normalised" in told


def test_verify_without_torch_passes() -> None:
    command = [sys.executable, "-m", "jinabert_onnx", "verify", str(BUNDLE)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.count("agrees with torch") == 3


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, "altered"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes where the manifest says"),
        (Path.unlink, "missing"),
    ],
)
def test_damaged_weights_are_refused(dense_copy: Path, damage: Callable, words: str) -> None:
    damage(dense_copy / WEIGHTS)
    with pytest.raises(BundleError, match=rf"2_Dense/model\.safetensors: .*{words}"):
        Embedder.load(dense_copy)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 8, b"\x02" + bytes(7) + b"{}", b"\x02" + bytes(7) + b"[]", b"\x04" + bytes(7) + b"null"]
)
def test_weights_that_are_no_safetensors_are_refused(dense_copy: Path, content: bytes) -> None:
    (dense_copy / WEIGHTS).write_bytes(content)
    record_again(dense_copy, WEIGHTS)
    with pytest.raises(BundleError, match=r"2_Dense/model\.safetensors: missing or damaged"):
        Embedder.load(dense_copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"activation": "Softsign"}, "activation 'Softsign' is unknown to this version; upgrade"),
        ({"in_features": 63}, "layers do not fit together"),
        ({"out_features": 0}, "layers do not fit together"),
        ({"file": "elsewhere"}, "layers do not fit together, or have no file"),
        ({"file": 1}, "'file' is missing or not a str"),
        ({"out_features": 39}, "not of the sizes that the manifest says"),
    ],
)
def test_layers_that_do_not_fit_are_refused(dense_copy: Path, change: dict, words: str) -> None:
    edit_json(dense_copy / "manifest.json", lambda manifest: manifest["dense"][0].update(change))
    with pytest.raises(BundleError, match=words):
        Embedder.load(dense_copy, self_test=False)


def test_the_activation_is_part_of_the_vector_space(dense_copy: Path) -> None:
    edit_json(dense_copy / "manifest.json", lambda manifest: manifest["dense"][0].update(activation="Identity"))
    spaces = {fingerprint_of(open_bundle(path).manifest, "fp32", 256).space for path in (BUNDLE, dense_copy)}
    assert len(spaces) == 2


@pytest.mark.parametrize("activation", DENSE_ACTIVATIONS)
def test_activations_are_the_functions_of_their_names(activation: str) -> None:
    functions: dict[str, Callable[[float], float]] = {
        "Tanh": math.tanh,
        "Identity": lambda x: x,
        "GELU": lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2))),
        "ReLU": lambda x: max(x, 0.0),
        "Sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    }
    values = np.float32([[-50, -3, -0.5, 0, 0.1, 2, 50]])
    layer = DenseLayer(np.eye(7, dtype=np.float32), np.zeros(7, dtype=np.float32), activation)
    found = apply_dense([layer], values)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], [functions[activation](float(x)) for x in values[0]], rtol=1e-6, atol=1e-6)


def test_a_vector_does_not_depend_on_those_beside_it() -> None:
    generator = np.random.default_rng(0)
    first, second = (generator.normal(size=shape).astype(np.float32) for shape in ((96, 64), (17, 96)))
    layers = [DenseLayer(weight, weight[:, 0].copy(), "GELU") for weight in (first, second)]
    pooled = generator.normal(size=(9, 64)).astype(np.float32)
    together = apply_dense(layers, pooled)
    assert together.shape == (9, 17)
    for count in (1, 2, 5):
        np.testing.assert_array_equal(apply_dense(layers, pooled[:count]), together[:count])
    assert apply_dense(layers, pooled[:0]).shape == (0, 17)
