"""What a checkpoint says of its head: labels, activation, token types, maximum length; and what is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from jinabert_onnx.bundle.manifest import ClassifierRecord
from jinabert_onnx_export import CheckpointError, UnsupportedCheckpointError
from jinabert_onnx_export.checkpoint.classifier import read_classifier, read_classifier_settings
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder.model import JinaBertClassifier
from jinabert_onnx_export.verify.vector_space import weights_sha256
from safetensors.torch import load_file, save_file
from support.bundles import update_json
from support.pair_goldens import CROSS_ENCODERS

ACTIVATION = "torch.nn.modules.activation"
NAMES = {"0": "contradiction", "1": "entailment", "2": "neutral"}


@pytest.fixture
def checkpoint(copy_checkpoint: Callable[[str], Path]) -> Path:
    """A classifier with three labels, whose tokenizer passes token types."""
    return copy_checkpoint(str(CROSS_ENCODERS / "classifier-3-4h"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Only what says how a head is used, and nothing in it."""
    for name in ("config.json", "tokenizer_config.json"):
        (tmp_path / name).write_text("{}")
    return tmp_path


@pytest.mark.parametrize("name", ["reranker-12h", "reranker-6h", "classifier-3-4h"])
def test_every_golden_is_a_classifier_with_the_labels_of_its_weight(name: str) -> None:
    expected = {
        "reranker-12h": ClassifierRecord(("LABEL_0",), "sigmoid", False),  # config.json tells neither labels nor head
        "reranker-6h": ClassifierRecord(("LABEL_0",), "sigmoid", False),
        "classifier-3-4h": ClassifierRecord(tuple(NAMES.values()), "softmax", True),
    }
    opened = open_checkpoint(CROSS_ENCODERS / name)
    assert opened.classifier == expected[name]
    assert isinstance(opened.load_encoder(), JinaBertClassifier)


def test_names_with_and_without_the_prefix_are_the_same_classifier(checkpoint: Path) -> None:
    before = weights_sha256(open_checkpoint(checkpoint).load_encoder())
    tensors = load_file(checkpoint / "model.safetensors")
    assert {"bert.pooler.dense.weight", "classifier.weight"} <= tensors.keys()
    stripped = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
    save_file(stripped, checkpoint / "model.safetensors")
    assert weights_sha256(open_checkpoint(checkpoint).load_encoder()) == before


@pytest.mark.parametrize("name", ["bert.pooler.dense.bias", "classifier.weight", "classifier.bias"])
def test_the_hash_of_the_weights_covers_the_head(checkpoint: Path, name: str) -> None:
    before = weights_sha256(open_checkpoint(checkpoint).load_encoder())
    tensors = load_file(checkpoint / "model.safetensors")
    save_file(tensors | {name: tensors[name] + 1}, checkpoint / "model.safetensors")
    assert weights_sha256(open_checkpoint(checkpoint).load_encoder()) != before


@pytest.mark.parametrize(
    ("given", "labels", "expected"),
    [
        ({"id2label": NAMES}, 3, tuple(NAMES.values())),
        (
            {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}},
            3,
            ("LABEL_0", "LABEL_1", "LABEL_2"),
        ),  # what transformers adds
        ({"id2label": NAMES}, 1, ("LABEL_0",)),
        ({"id2label": None}, 2, ("LABEL_0", "LABEL_1")),
    ],
)
def test_labels_are_named_where_there_are_as_many_names(
    folder: Path, given: dict, labels: int, expected: tuple
) -> None:
    update_json(folder / "config.json", **given)
    assert read_classifier(folder, labels).labels == expected


@pytest.mark.parametrize(
    ("given", "labels", "expected"),
    [
        ({}, 1, "sigmoid"),
        ({}, 2, "softmax"),
        ({"problem_type": "single_label_classification"}, 3, "softmax"),
        ({"problem_type": "multi_label_classification"}, 3, "sigmoid"),
        ({"problem_type": "regression"}, 1, "identity"),
        (
            {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "5.0"}},
            1,
            "identity",
        ),
        ({"sbert_ce_default_activation_function": f"{ACTIVATION}.Sigmoid"}, 3, "sigmoid"),
        ({"sbert_ce_default_activation_function": "torch.nn.Softmax", "problem_type": "regression"}, 2, "softmax"),
    ],
)
def test_the_activation_is_sentence_transformers_or_that_of_the_problem(
    folder: Path, given: dict, labels: int, expected: str
) -> None:
    update_json(folder / "config.json", **given)
    assert read_classifier(folder, labels).activation == expected


def test_the_newest_layout_of_sentence_transformers_counts_first(folder: Path) -> None:
    update_json(folder / "config.json", sbert_ce_default_activation_function=f"{ACTIVATION}.Sigmoid")
    newest = {"activation_fn": "torch.nn.modules.linear.Identity", "model_type": "CrossEncoder", "prompts": {}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(newest))
    module = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}
    (folder / "modules.json").write_text(json.dumps([module]))
    content = {"transformer_task": "sequence-classification", "max_seq_length": 300}
    (folder / "sentence_bert_config.json").write_text(json.dumps(content))
    update_json(folder / "tokenizer_config.json", model_max_length=512)
    assert read_classifier(folder, 1).activation == "identity"
    assert read_classifier_settings(folder).max_length == 300


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tokenizer_class": "BertTokenizer"}, True),
        ({"tokenizer_class": "BertTokenizerFast"}, True),
        ({}, True),  # what transformers takes for a model of type "bert"
        ({"tokenizer_class": "RobertaTokenizer"}, False),
        ({"tokenizer_class": "XLMRobertaTokenizerFast"}, False),
        ({"tokenizer_class": "BertTokenizer", "model_input_names": ["input_ids", "attention_mask"]}, False),
        ({"tokenizer_class": "RobertaTokenizer", "model_input_names": ["input_ids", "token_type_ids"]}, True),
    ],
)
def test_token_types_are_those_that_the_tokenizers_class_passes(folder: Path, given: dict, expected: bool) -> None:
    update_json(folder / "tokenizer_config.json", **given)
    assert read_classifier(folder, 1).token_types is expected


@pytest.mark.parametrize(("given", "expected"), [(512, 512), (20_000, 8192), (2**31, 8192), (1e30, 8192), (None, 8192)])
def test_the_maximum_length_is_the_tokenizers_at_most_the_models(
    checkpoint: Path, given: float | None, expected: int
) -> None:
    update_json(checkpoint / "tokenizer_config.json", model_max_length=given)
    assert open_checkpoint(checkpoint).max_length == expected


REFUSED = {
    "activation": ({"config.json": {"sentence_transformers": {"activation_fn": f"{ACTIVATION}.Tanh"}}}, "Tanh"),
    "activation-of-others": ({"config.json": {"sbert_ce_default_activation_function": "my.Sigmoid"}}, "'my.Sigmoid'"),
    "problem-type": ({"config.json": {"problem_type": "ranking"}}, "problem_type 'ranking'"),
    "base-class": (
        {"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}},
        "tokenizer_class 'PreTrainedTokenizerFast' passes token_type_ids to the model is not known",
    ),
    "tokenizer-class": ({"tokenizer_config.json": {"tokenizer_class": "MyTokenizer"}}, "tokenizer_class 'MyTokenizer'"),
    "one-type": ({"config.json": {"type_vocab_size": 1}}, "the model's type_vocab_size 1"),
    "default-prompt": (
        {"config_sentence_transformers.json": {"prompts": {"query": "q: "}, "default_prompt_name": "query"}},
        "default prompt",
    ),
    "task": ({"sentence_bert_config.json": {"transformer_task": "text-generation"}}, "only 'sequence-classification'"),
    "lower-case": ({"sentence_bert_config.json": {"do_lower_case": True}}, "do_lower_case"),
    "token-classification": (
        {"config.json": {"architectures": ["JinaBertForTokenClassification"]}},
        "a token classifier, which labels every token",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_carried_over_is_refused_by_name(checkpoint: Path, changes: dict, words: str) -> None:
    for name, values in changes.items():
        if not (checkpoint / name).exists():
            (checkpoint / name).write_text("{}")
        update_json(checkpoint / name, **values)
    with pytest.raises(UnsupportedCheckpointError) as caught:
        open_checkpoint(checkpoint)
    assert words in str(caught.value)


def test_an_embedding_models_modules_do_not_go_with_a_classifier(checkpoint: Path) -> None:
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in (
        ("", "Transformer"), ("1_Pooling", "Pooling"),
    )]  # fmt: skip
    (checkpoint / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UnsupportedCheckpointError, match="modules Transformer, Pooling cannot be carried over"):
        open_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop("classifier.weight"), "missing tensors: classifier.weight"),
        (lambda tensors: tensors.pop("classifier.bias"), "missing tensors: classifier.bias"),
        (lambda tensors: tensors.pop("bert.pooler.dense.bias"), "missing tensors: pooler.dense.bias"),
        (lambda tensors: tensors.update({"classifier.dense.weight": torch.ones(2, 2)}), "unexpected tensors"),
        (lambda tensors: tensors.update({"classifier.weight": torch.ones(3, 32)}), "has shape [3, 32]"),
        (lambda tensors: tensors.update({"classifier.weight": torch.ones(64)}), "has shape [64], not one row a label"),
        (lambda tensors: tensors.update({"classifier.weight": torch.ones(0, 64)}), "has shape [0, 64], not one row"),
    ],
)
def test_a_head_that_is_not_complete_is_refused(checkpoint: Path, change: Callable, words: str) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    change(tensors)
    save_file(tensors, checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(checkpoint)
    assert words in str(caught.value)


def test_names_that_are_no_names_are_refused(folder: Path) -> None:
    update_json(folder / "config.json", id2label={"a": "x", "b": "y"})
    with pytest.raises(CheckpointError, match="id2label does not name the labels 0 to 1"):
        read_classifier(folder, 2)


def test_a_maximum_length_leaves_room_for_a_pairs_special_tokens(checkpoint: Path) -> None:
    update_json(checkpoint / "tokenizer_config.json", model_max_length=3)
    with pytest.raises(CheckpointError, match="3 tokens leaves no room beside the tokenizer's 3 special ones"):
        open_checkpoint(checkpoint)
