"""Loading compares what the model computes here with what it computed at export, and refuses what differs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import BundleError, Embedder, SelfTestError
from support.bundles import edit_json, record_again
from support.paths import DATA, TRAINED


@pytest.fixture
def trained_copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TRAINED, tmp_path / "bundle"))


def rewrite(bundle: Path, name: str, change: Callable[[dict], None]) -> None:
    """Change a JSON file of a bundle, and the manifest so that its hash fits."""
    edit_json(bundle / name, change)
    record_again(bundle, name)


def exchange_two_words(content: dict) -> None:
    """What another tokenizer, of the same size, would do: other ids for the same text."""
    vocabulary = content["model"]["vocab"]
    words = sorted(vocabulary, key=vocabulary.get)
    for first, second in zip(words[100:7000:2], words[101:7000:2], strict=False):
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]


def layer_norm_weight() -> np.ndarray:
    """The weight of the first layer norm, float32 (hidden,), which every precision but fp16 holds as it is."""
    content = (DATA / "tiny-de-en" / "model.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    entry = json.loads(content[8 : 8 + size])["embeddings.LayerNorm.weight"]
    first, last = (8 + size + offset for offset in entry["data_offsets"])
    return np.frombuffer(content[first:last], dtype={"F16": "<f2", "F32": "<f4"}[entry["dtype"]]).astype(np.float32)


def test_another_tokenizer_is_refused(trained_copy: Path) -> None:
    rewrite(trained_copy, "tokenizer.json", exchange_two_words)
    with pytest.raises(
        SelfTestError, match=r"fp32 on cpu computes different vectors here than at export \(off by .* of their length"
    ) as e:
        Embedder.load(trained_copy)
    assert isinstance(e.value, RuntimeError)
    assert "\n" not in str(e.value)
    assert Embedder.load(trained_copy, self_test=False).encode("a").shape == (256,)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("damage", ["other weights", "not a number"])
def test_other_weights_and_nan_are_refused(trained_copy: Path, precision: str, damage: str) -> None:
    name = {"fp32": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"}[precision]
    path = trained_copy / name
    content, weight = path.read_bytes(), layer_norm_weight()
    assert content.count(weight.tobytes()) == 1
    content = content.replace(
        weight.tobytes(), (weight * np.float32(np.nan if damage == "not a number" else 3)).tobytes()
    )
    path.write_bytes(content)
    record_again(trained_copy, name)
    with pytest.raises(SelfTestError, match=f"{precision} on cpu computes different vectors"):
        Embedder.load(trained_copy, precision=precision)


@pytest.mark.parametrize(("precision", "noise", "passes"), [
    ("fp32", 1e-6, True), ("fp32", 0.02, False), ("int8", 1e-3, True), ("int8", 0.05, False), ("fp16", 0.05, False),
])  # fmt: skip
def test_what_is_refused_is_far_from_what_differs_between_processors(
    trained_copy: Path, precision: str, noise: float, passes: bool
) -> None:
    def disturb(content: dict) -> None:
        vectors = np.array(content["self_test"]["vectors"][precision])
        direction = np.random.default_rng(0).standard_normal(vectors.shape)
        size = np.linalg.norm(vectors, axis=1, keepdims=True) / np.linalg.norm(direction, axis=1, keepdims=True)
        content["self_test"]["vectors"][precision] = (vectors + noise * size * direction).tolist()

    rewrite(trained_copy, "probes.json", disturb)
    if passes:
        Embedder.load(trained_copy, precision=precision)
    else:
        with pytest.raises(SelfTestError):
            Embedder.load(trained_copy, precision=precision)


def test_a_bundle_without_vectors_for_the_precision_is_refused(trained_copy: Path) -> None:
    rewrite(trained_copy, "probes.json", lambda content: content["self_test"]["vectors"].pop("int8"))
    with pytest.raises(BundleError, match="no vectors for a self-test of int8"):
        Embedder.load(trained_copy, precision="int8")
    Embedder.load(trained_copy, precision="fp32")
