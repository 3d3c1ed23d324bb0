"""The published models' own metadata files, around small random weights: what is wrong in them is put right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import GOLDENS
from jinabert_onnx import Embedder
from jinabert_onnx_export import export
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder.config import read_config
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.package import write_metadata
from safetensors.torch import save_file
from support.bundles import update_json

REFERENCE = GOLDENS.parent / "reference"


@pytest.mark.parametrize(("name", "vocabulary"), [("base-en", 30528), ("base-code", 61056)])
def test_published_configurations_are_read(name: str, vocabulary: int) -> None:
    config = read_config(REFERENCE / name / "config.json")
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (768, 12, 12)
    assert (config.vocab_size, config.intermediate_size, config.max_position_embeddings) == (vocabulary, 3072, 8192)
    assert (config.feed_forward_type, config.layer_norm_eps) == ("geglu", 1e-12)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """base-en's files with one small layer of seeded weights in place of its own."""
    checkpoint = Path(shutil.copytree(REFERENCE / "base-en", tmp_path / "checkpoint"))
    (checkpoint / "1_Pooling").mkdir()
    (checkpoint / "1_Pooling_config.json").rename(checkpoint / "1_Pooling" / "config.json")
    update_json(checkpoint / "config.json", hidden_size=24, num_hidden_layers=1, intermediate_size=48)
    torch.manual_seed(0)
    encoder = JinaBertEncoder(read_config(checkpoint / "config.json"), "plain")
    save_file({name: tensor.half() for name, tensor in encoder.state_dict().items()}, checkpoint / "model.safetensors")
    return checkpoint


@pytest.mark.parametrize("claimed_length", [2147483648, 512])
def test_a_length_that_the_tokenizer_claims_is_put_right(published: Path, claimed_length: int) -> None:
    """base-en's tokenizer claims 2147483648 tokens, base-es's 512; the model takes 8192."""
    update_json(published / "tokenizer_config.json", model_max_length=claimed_length)
    (published / "bundle").mkdir()
    write_metadata(open_checkpoint(published), published / "bundle")
    assert json.loads((published / "bundle" / "tokenizer_config.json").read_text())["model_max_length"] == 8192


def test_sizes_and_lengths_come_from_the_model_and_no_code_is_named(published: Path, tmp_path: Path) -> None:
    export(published, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "1_Pooling" / "config.json").read_text())["word_embedding_dimension"] == 24
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["model_max_length"] == 8192
    for path in (tmp_path / "out").rglob("*.json"):
        assert not {b"auto_map", b"trust_remote_code"} & set(path.read_bytes().replace(b'"', b" ").split())
    model = Embedder.load(tmp_path / "out")
    assert model.max_seq_length == 8192
    assert model.encode(["Hello WORLD", "hello world"], output_value="token_embeddings")[0].shape == (4, 24)
