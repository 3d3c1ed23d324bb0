"""Dense modules of sentence-transformers: read from both layouts, honoured in full or refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run, error_of
from jinabert_onnx import Embedder
from jinabert_onnx.bundle.manifest import DENSE_ACTIVATIONS
from jinabert_onnx_export import CheckpointError, UnsupportedCheckpointError, export
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.verify.reference import embed
from jinabert_onnx_export.verify.vector_space import weights_sha256
from safetensors.torch import load_file, save_file
from support.bundles import edit_json
from support.paths import DENSE_GOLDEN
from torch import nn

CONFIG, WEIGHTS = "2_Dense/config.json", "2_Dense/model.safetensors"
ACTIVATIONS = {name: f"torch.nn.modules.activation.{name}" for name in DENSE_ACTIVATIONS} | {
    "Identity": "torch.nn.modules.linear.Identity"
}
TEXTS = ["When more to do the be you? is", "Said"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DENSE_GOLDEN, tmp_path / "checkpoint", ignore=shutil.ignore_patterns("golden*")))


def as_older_layout(checkpoint: Path) -> None:
    """The same folder as sentence-transformers 3 writes it."""
    modules = json.loads((checkpoint / "modules.json").read_text("utf-8"))
    for module in modules:
        module["type"] = "sentence_transformers.models." + module["type"].rpartition(".")[2]
    (checkpoint / "modules.json").write_text(json.dumps(modules), "utf-8")
    (checkpoint / "sentence_bert_config.json").write_text('{"max_seq_length": 256, "do_lower_case": false}', "utf-8")
    pooling = {"word_embedding_dimension": 64, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (checkpoint / "1_Pooling" / "config.json").write_text(json.dumps(pooling), "utf-8")
    content = {"in_features": 64, "out_features": 40, "bias": True, "activation_function": ACTIVATIONS["Tanh"]}
    (checkpoint / CONFIG).write_text(json.dumps(content), "utf-8")


def as_it_is(checkpoint: Path) -> None:
    """The folder of sentence-transformers 5.5."""


def without_an_activation(checkpoint: Path) -> None:
    edit_json(checkpoint / CONFIG, lambda content: content.pop("activation_function"))


@pytest.mark.parametrize("layout", [as_it_is, as_older_layout, without_an_activation])
def test_vectors_are_the_originals_in_every_layout(checkpoint: Path, layout: Callable[[Path], None]) -> None:
    layout(checkpoint)
    texts = json.loads((DENSE_GOLDEN / "golden_texts.json").read_text("utf-8"))["texts"]
    opened = open_checkpoint(checkpoint)
    assert opened.max_length == 256
    with np.load(DENSE_GOLDEN / "golden.npz") as golden:
        vectors = embed(opened, opened.load_encoder(), texts)
        np.testing.assert_allclose(vectors, golden["embeddings"], rtol=0, atol=2e-5)
        exact = embed(opened, opened.load_encoder().double(), texts)
        assert exact.dtype == np.float64
        np.testing.assert_allclose(exact, golden["embeddings_float64"], rtol=0, atol=1e-6)


def add_layers(checkpoint: Path, activation: str) -> nn.Sequential:
    """Put one more Dense, without a bias, and Normalize behind the first; return the two Dense modules in torch."""
    layer = getattr(nn, activation)()
    edit_json(checkpoint / CONFIG, lambda content: content.update(activation_function=ACTIVATIONS[activation]))
    first, second = nn.Linear(64, 40), nn.Linear(40, 72, bias=False)
    torch.manual_seed(0)
    for linear in (first, second):
        nn.init.normal_(linear.weight, std=0.5)
    (checkpoint / "3_Dense").mkdir()
    for folder, linear in (("2_Dense", first), ("3_Dense", second)):
        save_file(
            {f"linear.{name}": value for name, value in linear.state_dict().items()},
            checkpoint / folder / "model.safetensors",
        )
    content = {"in_features": 40, "out_features": 72, "bias": False, "activation_function": ACTIVATIONS[activation]}
    (checkpoint / "3_Dense" / "config.json").write_text(json.dumps(content), "utf-8")
    modules = json.loads((checkpoint / "modules.json").read_text("utf-8"))
    modules += [
        {"path": f"3_{kind}", "type": f"sentence_transformers.models.{kind}"} for kind in ("Dense", "Normalize")
    ]
    (checkpoint / "modules.json").write_text(json.dumps(modules), "utf-8")
    return nn.Sequential(first, layer, second, layer)


@pytest.mark.parametrize("activation", DENSE_ACTIVATIONS)
def test_several_layers_with_any_activation_are_exported_and_normalised_last(
    checkpoint: Path, tmp_path: Path, activation: str
) -> None:
    layers = add_layers(checkpoint, activation)
    manifest = export(checkpoint, tmp_path / "bundle")
    assert [(layer.file, layer.out_features, layer.activation) for layer in manifest.dense] == [
        (f"{index}_Dense/model.safetensors", width, activation) for index, width in ((2, 40), (3, 72))
    ]
    kinds = [module["type"] for module in json.loads((tmp_path / "bundle/modules.json").read_text("utf-8"))]
    assert [kind.rpartition(".")[2] for kind in kinds] == ["Transformer", "Pooling", "Dense", "Dense", "Normalize"]
    model = Embedder.load(tmp_path / "bundle")
    tokens = model.encode(TEXTS, output_value="token_embeddings")
    with torch.inference_mode():
        expected = nn.functional.normalize(layers(torch.from_numpy(np.stack([rows.mean(axis=0) for rows in tokens]))))
    np.testing.assert_allclose(model.encode(TEXTS), expected.numpy(), rtol=0, atol=1e-5)


def test_verify_against_compares_the_layers_too(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "bundle", ("fp32", "int8"))
    assert run("verify", tmp_path / "bundle", "--against", checkpoint).returncode == 0
    weights = load_file(checkpoint / WEIGHTS)
    weights["linear.weight"][3, 5] += 1e-3
    save_file(weights, checkpoint / WEIGHTS)
    error = error_of(run("verify", tmp_path / "bundle", "--against", checkpoint, "--precision", "int8"))
    assert "its weights (SHA-256" in error


def test_the_hash_of_weights_holds_the_layers(checkpoint: Path) -> None:
    opened = open_checkpoint(checkpoint)
    encoder = opened.load_encoder()
    assert weights_sha256(encoder, opened.dense) != weights_sha256(encoder)


def option(**values: Any) -> Callable[[Path], None]:
    return lambda checkpoint: edit_json(checkpoint / CONFIG, lambda content: content.update(values))


def weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    return lambda checkpoint: save_file(change(load_file(checkpoint / WEIGHTS)), checkpoint / WEIGHTS)


def as_pickle(checkpoint: Path) -> None:
    torch.save(load_file(checkpoint / WEIGHTS), checkpoint / "2_Dense" / "pytorch_model.bin")
    (checkpoint / WEIGHTS).unlink()


def in_another_order(checkpoint: Path) -> None:
    modules = json.loads((checkpoint / "modules.json").read_text("utf-8"))
    modules.insert(2, {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
    (checkpoint / "modules.json").write_text(json.dumps(modules), "utf-8")


def elsewhere(checkpoint: Path) -> None:
    modules = json.loads((checkpoint / "modules.json").read_text("utf-8"))
    modules[2]["path"] = "../2_Dense"
    (checkpoint / "modules.json").write_text(json.dumps(modules), "utf-8")


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (option(activation_function="torch.nn.modules.activation.Softsign"), "Softsign' is not supported, only Tanh"),
        (option(activation_function="mine.Tanh"), "'mine.Tanh' is not supported"),
        (option(activation_function=None), "activation_function None is not supported"),
        (option(module_input_name="token_embeddings"), "module_input_name 'token_embeddings' is not supported"),
        (option(module_output_name="other"), "module_output_name 'other' is not supported"),
        (option(use_residual=True), "use_residual is not supported"),
        (as_pickle, "2_Dense: there is no model.safetensors"),
        (in_another_order, "modules Transformer, Pooling, Normalize, Dense cannot be carried over"),
    ],
)
def test_what_would_change_vectors_is_refused_by_name(
    checkpoint: Path, alter: Callable[[Path], None], words: str
) -> None:
    alter(checkpoint)
    with pytest.raises(UnsupportedCheckpointError) as caught:
        open_checkpoint(checkpoint)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda checkpoint: (checkpoint / CONFIG).unlink(), "names 2_Dense/config.json, which is missing"),
        (option(in_features=63), "in_features 63 and out_features 40 after 64 channels"),
        (option(out_features=True), "out_features True"),
        (option(bias=False), "linear.bias"),
        (weights(lambda tensors: {"linear.weight": tensors["linear.weight"]}), "asks for"),
        (weights(lambda tensors: tensors | {"residual.weight": torch.zeros(40, 64)}), "residual.weight"),
        (weights(lambda tensors: {name: tensor * torch.nan for name, tensor in tensors.items()}), "NaN"),
        (elsewhere, "outside of the folder"),
        (
            lambda checkpoint: edit_json(
                checkpoint / "tokenizer_config.json", lambda content: content.update(model_max_length=2)
            ),
            "a maximum length of 2 tokens leaves no room beside the tokenizer's 2 special ones",
        ),
    ],
)
def test_damaged_folders_are_refused(checkpoint: Path, alter: Callable[[Path], object], words: str) -> None:
    alter(checkpoint)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(checkpoint)
    assert words in str(caught.value)
    assert not isinstance(caught.value, UnsupportedCheckpointError)
