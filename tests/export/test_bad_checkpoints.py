"""What cannot be exported is refused with one clear error; what a folder adds is honoured or refused by name."""

from __future__ import annotations

import json
import math
import pickle
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jinabert_onnx.errors import BundleNotFoundError, InputError, JinaBertError
from jinabert_onnx_export import CheckpointError, UnsupportedCheckpointError
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.checkpoint.sentence_transformer import SentenceSettings, read_sentence_settings
from jinabert_onnx_export.verify.reference import embed
from safetensors.torch import load_file, save_file
from support.references import read_golden
from torch import Tensor

Tensors = dict[str, Tensor]
Alter = Callable[[Path], object]
Copy = Callable[[str], Path]

NAME = "plain-4h"
WORDS = "embeddings.word_embeddings.weight"
WIDE = "encoder.layer.1.mlp.gated_layers.weight"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"


def refusal(path: Path | str) -> tuple[type[JinaBertError], str]:
    """The class of the one error that reading the checkpoint raises, and its message without the directory."""
    with pytest.raises(JinaBertError) as caught:
        open_checkpoint(path).load_encoder()
    message = str(caught.value)
    assert message.isprintable()  # one line, without a terminal's escapes
    assert len(message) < 600 or "unexpected tensors" in message  # these are all named
    # torch's own advice is to load a file that it refuses without the check.
    assert "weights_only" not in message
    assert "can still be loaded" not in message
    return type(caught.value), message.replace(str(path), "")


# Alterations. Each makes a function that takes the directory of a good checkpoint.


def all_of(*alterations: Alter) -> Alter:
    return lambda directory: [alter(directory) for alter in alterations]


def remove(name: str) -> Alter:
    return lambda directory: (directory / name).unlink()


def write(name: str, content: str | bytes) -> Alter:
    data = content.encode() if isinstance(content, str) else content

    def alter(directory: Path) -> None:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(data)

    return alter


def replace_by_directory(name: str) -> Alter:
    return lambda directory: ((directory / name).unlink(), (directory / name).mkdir())


def cut(name: str, length: Callable[[bytes], int]) -> Alter:
    def alter(directory: Path) -> None:
        data = (directory / name).read_bytes()
        (directory / name).write_bytes(data[: length(data)])

    return alter


def update(name: str, **values: Any) -> Alter:
    """Sets keys of a JSON object; None removes one."""

    def alter(directory: Path) -> None:
        content = json.loads((directory / name).read_text()) | values
        content = {key: value for key, value in content.items() if value is not None}
        (directory / name).write_text(json.dumps(content))

    return alter


def config(**values: Any) -> Alter:
    return update("config.json", **values)


def weights(change: Callable[[Tensors], Tensors]) -> Alter:
    def alter(directory: Path) -> None:
        tensors = change(load_file(directory / "model.safetensors"))
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})

    return alter


def without(*names: str) -> Alter:
    return weights(lambda tensors: {name: tensor for name, tensor in tensors.items() if name not in names})


def adding(**shapes: tuple[int, ...]) -> Alter:
    """Adds tensors of zeros; `__` in a keyword stands for the dot in a name."""
    added = {name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}
    return weights(lambda tensors: tensors | added)


def with_head(**shapes: tuple[int, ...]) -> Alter:
    """Adds tensors of a classifier, and says what its tokenizer passes to the model."""

    def alter(directory: Path) -> None:
        adding(**shapes)(directory)
        update("tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])(directory)

    return alter


def changing(name: str, change: Callable[[Tensor], Tensor]) -> Alter:
    return weights(lambda tensors: tensors | {name: change(tensors[name]).contiguous()})


def with_value(value: float, dtype: torch.dtype = torch.float32) -> Callable[[Tensor], Tensor]:
    """Puts one bad value in the middle of a tensor."""

    def change(tensor: Tensor) -> Tensor:
        tensor = tensor.to(dtype)
        tensor.view(-1)[tensor.numel() // 2] = value
        return tensor

    return change


def prefixed_twice(tensors: Tensors) -> Tensors:
    return {f"bert.{name}": tensor for name, tensor in tensors.items()} | {WORDS: tensors[WORDS].clone()}


def as_bert(tensors: Tensors) -> Tensors:
    """The feed-forward's names of plain BERT."""
    return {
        name.replace("mlp.gated_layers", "intermediate.dense").replace("mlp.wo", "output.dense"): tensor
        for name, tensor in tensors.items()
    }


def shards(change: Callable[[Path, dict[str, str]], object]) -> Alter:
    """Splits the weights in two files, then lets `change` alter these and the index's weight_map."""

    def alter(directory: Path) -> None:
        tensors = load_file(directory / "model.safetensors")
        (directory / "model.safetensors").unlink()
        weight_map = {name: SHARDS[number % 2] for number, name in enumerate(sorted(tensors))}
        for shard in SHARDS:
            chosen = {name: tensor for name, tensor in tensors.items() if weight_map[name] == shard}
            save_file(chosen, directory / shard)
        change(directory, weight_map)
        (directory / INDEX).write_text(json.dumps({"weight_map": weight_map}))

    return alter


def add_to_second_shard(directory: Path, weight_map: dict[str, str]) -> None:
    """A tensor that the index places in one file, and the other file holds with other values as well."""
    name = next(name for name, shard in weight_map.items() if shard == SHARDS[0])
    tensors = load_file(directory / SHARDS[1])
    first = load_file(directory / SHARDS[0])
    save_file(tensors | {name: first[name] + 1}, directory / SHARDS[1])


def pickled(content: Callable[[Tensors], object], **options: Any) -> Alter:
    def alter(directory: Path) -> None:
        tensors = load_file(directory / "model.safetensors")
        (directory / "model.safetensors").unlink()
        torch.save(content(tensors), directory / "pytorch_model.bin", **options)

    return alter


def with_unknown_storage(directory: Path) -> None:
    """A pickle in the form before zip; a tensor refers to a storage, named by a long number, that is not there."""
    pickled(dict, _use_new_zipfile_serialization=False)(directory)
    path = directory / "pytorch_model.bin"
    path.write_bytes(re.sub(rb"\d{10,}", lambda found: b"0" * len(found[0]), path.read_bytes(), count=1))


def to_pickle_of_bytes(data: bytes) -> Alter:
    return all_of(remove("model.safetensors"), write("pytorch_model.bin", data))


def pickled_with(change: Callable[[Tensor], Tensor]) -> Alter:
    """The pickle of all tensors, one of them changed."""
    return pickled(lambda tensors: tensors | {WIDE: change(tensors[WIDE])})


def tokenizer_with_special_id(directory: Path) -> None:
    """The text's frame, and not the vocabulary, holds the id that is too large."""
    cls: dict[str, Any] = {"id": "[CLS]", "ids": [9999], "tokens": ["[CLS]"]}
    frame = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    processor = {"type": "TemplateProcessing", "single": frame, "pair": frame, "special_tokens": {"[CLS]": cls}}
    processor["pair"] = [*frame, {"Sequence": {"id": "B", "type_id": 1}}]
    update("tokenizer.json", post_processor=processor)(directory)


def header_end(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


SAFETENSORS = "model.safetensors"
DEEP = "[" * 100_000
Cases = dict[str, tuple[Alter, str]]  # the alteration, and what its message has to hold, between semicolons
REFUSED_AS_BROKEN: Cases = {
    # files
    "no-config": (remove("config.json"), "no config.json"),
    "no-weights": (remove(SAFETENSORS), f"no weights; {SAFETENSORS}; pytorch_model.bin"),
    "no-tokenizer": (remove("tokenizer.json"), "no tokenizer.json"),
    "config-is-a-directory": (replace_by_directory("config.json"), "config.json"),
    "weights-are-a-directory": (replace_by_directory(SAFETENSORS), "no weights"),
    # config.json
    "config-empty": (write("config.json", ""), "config.json; JSON"),
    "config-cut": (cut("config.json", lambda data: len(data) // 2), "config.json; JSON"),
    "config-not-utf-8": (write("config.json", b'{"a": "\xff"}'), "config.json; JSON"),
    "config-nested-deeply": (write("config.json", DEEP), "config.json"),
    "config-a-list": (write("config.json", "[1]"), "config.json; not a JSON object"),
    "heads-do-not-divide": (config(num_attention_heads=3), "hidden_size 64; 3 num_attention_heads"),
    "heads-zero": (config(num_attention_heads=0), "num_attention_heads is 0"),
    "size-missing": (config(intermediate_size=None), "intermediate_size"),
    "size-negative": (config(hidden_size=-64), "hidden_size is -64"),
    "size-a-float": (config(vocab_size=500.0), "vocab_size is 500.0"),
    "size-a-bool": (config(num_hidden_layers=True), "num_hidden_layers is True"),
    "size-another": (config(intermediate_size=127), "config.json; mlp.gated_layers.weight; [256, 64]; [254, 64]"),
    "eps-nan": (config(layer_norm_eps=math.nan), "layer_norm_eps is nan"),
    "eps-missing": (config(layer_norm_eps=None), "layer_norm_eps"),
    "layers-more": (config(num_hidden_layers=3), "missing; encoder.layer.2."),
    "layers-fewer": (
        config(num_hidden_layers=1),
        "unexpected; encoder.layer.1.attention.self.key.bias; encoder.layer.1.mlp.wo.weight",
    ),
    "layers-absurd": (config(num_hidden_layers=10**9), "1000000000 layers"),  # building them would take days
    **{
        f"{size}-absurd-{value:.0e}": (config(**{size: value}), "config.json")
        for size in ("vocab_size", "hidden_size", "intermediate_size", "type_vocab_size")
        for value in (2**62, 10**30)
    },
    # tokenizer.json
    "tokenizer-cut": (cut("tokenizer.json", lambda data: len(data) // 2), "tokenizer.json; not a valid"),
    "tokenizer-not-utf-8": (write("tokenizer.json", b"\xff\xfe{}"), "tokenizer.json; not a valid"),
    "tokenizer-empty-object": (write("tokenizer.json", "{}"), "tokenizer.json; not a valid"),
    "tokenizer-of-another": (config(vocab_size=499), "tokenizer.json; token id 499; vocab_size 499"),
    "tokenizer-frame": (tokenizer_with_special_id, "tokenizer.json; token id 9999; vocab_size 500"),
    # safetensors
    **{
        f"weights-cut-at-{place}": (cut(SAFETENSORS, length), f"{SAFETENSORS}; cut short or damaged")
        for place, length in {
            "0": lambda data: 0,
            "7": lambda data: 7,
            "8": lambda data: 8,
            "mid-header": lambda data: header_end(data) // 2,
            "header": header_end,
            "mid-data": lambda data: (header_end(data) + len(data)) // 2,
            "last-byte": lambda data: len(data) - 1,
        }.items()
    },
    "weights-longer": (
        lambda directory: write(SAFETENSORS, (directory / SAFETENSORS).read_bytes() + b"\0")(directory),
        f"{SAFETENSORS}; damaged",
    ),
    "weights-a-pointer": (
        write(SAFETENSORS, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"),
        f"{SAFETENSORS}; damaged",
    ),
    "header-not-json": (
        lambda directory: write(SAFETENSORS, b"\x10" + bytes(7) + b"{" * 16 + bytes(100))(directory),
        f"{SAFETENSORS}; damaged",
    ),
    "dtype-i64": (changing(WIDE, Tensor.long), f"{SAFETENSORS}; {WIDE}; I64; F16"),
    "dtype-f64": (changing(WIDE, Tensor.double), f"{SAFETENSORS}; {WIDE}; F64; F16"),
    # tensors
    "tensor-missing": (without(WIDE), f"missing; {WIDE}"),
    "tensors-missing": (without("embeddings.LayerNorm.bias", WORDS), f"embeddings.LayerNorm.bias; {WORDS}"),
    "tensor-extra": (adding(adapter__weight=(2, 2)), "unexpected; adapter.weight"),
    "tensor-of-the-other-variant": (
        adding(encoder__layer__0__layer_norm_1__weight=(64,)),
        "unexpected; plain; encoder.layer.0.layer_norm_1.weight",
    ),
    "classifier-without-bias": (with_head(classifier__weight=(1, 64)), "missing; classifier.bias"),
    "classifier-without-weight": (adding(bert__classifier__bias=(1,)), "missing; classifier.weight"),
    "classifier-in-name-only": (
        config(architectures=["JinaBertForSequenceClassification"]),
        "config.json; 'JinaBertForSequenceClassification'; no classifier.weight",
    ),
    "tensor-misshapen": (changing(WIDE, lambda tensor: tensor[:-1]), f"{WIDE}; [255, 64]; [256, 64]"),
    "tensor-transposed": (changing(WIDE, lambda tensor: tensor.T), f"{WIDE}; [64, 256]; [256, 64]"),
    "tensor-of-a-wrong-rank": (changing(WIDE, torch.flatten), f"{WIDE}; [16384]; [256, 64]"),
    "names-with-and-without-prefix": (weights(prefixed_twice), f"with and without 'bert.'; {WORDS}"),
    "nan": (changing(WIDE, with_value(math.nan)), f"{WIDE}; NaN"),
    "inf": (changing(WIDE, with_value(math.inf)), f"{WIDE}; infinity"),
    "minus-inf": (changing(WORDS, with_value(-math.inf)), f"{WORDS}; infinity"),
    "nan-f16": (changing(WIDE, with_value(math.nan, torch.float16)), f"{WIDE}; NaN"),
    "inf-bf16": (changing(WIDE, with_value(math.inf, torch.bfloat16)), f"{WIDE}; infinity"),
    # shards
    "shard-missing": (shards(lambda directory, names: (directory / SHARDS[1]).unlink()), SHARDS[1]),
    "shard-cut": (
        shards(lambda directory, names: cut(SHARDS[1], lambda data: len(data) - 9)(directory)),
        f"{SHARDS[1]}; cut short",
    ),
    **{
        f"index-leaves-by-{name}": (
            shards(lambda directory, names, path=path: names.update({WORDS: path})),
            f"{INDEX}; {path!r}; leaves the checkpoint",
        )
        for name, path in {
            "parent": "../model.safetensors",
            "root": "/model.safetensors",
            "folder": "a/model.safetensors",
            "backslash": "..\\model.safetensors",
        }.items()
    },
    "index-names-a-tensor-in-no-file": (
        shards(lambda directory, names: names.update(absent=SHARDS[0])),
        f"{INDEX}; absent",
    ),
    "tensor-in-two-shards": (shards(add_to_second_shard), "embeddings.LayerNorm.bias"),
    "index-empty": (shards(lambda directory, names: names.clear()), f"{INDEX}; weight_map"),
    "index-not-json": (all_of(remove(SAFETENSORS), write(INDEX, "{")), f"{INDEX}; JSON"),
    # pickles
    "pickle-empty": (to_pickle_of_bytes(b""), "pytorch_model.bin; damaged"),
    "pickle-a-pointer": (to_pickle_of_bytes(b"version https://git-lfs"), "pytorch_model.bin; damaged"),
    "pickle-cut": (
        all_of(pickled(dict), cut("pytorch_model.bin", lambda data: len(data) // 2)),
        "pytorch_model.bin; damaged",
    ),
    "pickle-of-a-newer-protocol": (to_pickle_of_bytes(pickle.dumps([1], 5)), "pytorch_model.bin"),
    "pickle-of-a-list": (pickled(lambda tensors: list(tensors.values())), "pytorch_model.bin; list"),
    "pickle-nested": (pickled(lambda tensors: {"model": tensors}), "pytorch_model.bin; model is dict"),
    "pickle-i64": (pickled_with(Tensor.long), f"pytorch_model.bin; {WIDE}; int64"),
    "pickle-nan": (pickled_with(lambda tensor: tensor * math.nan), f"{WIDE}; NaN"),
    "pickle-sparse": (pickled_with(Tensor.to_sparse), WIDE),
    "pickle-without-data": (pickled_with(lambda tensor: tensor.to("meta")), WIDE),
    "pickle-with-unknown-storage": (with_unknown_storage, "pytorch_model.bin; damaged"),
}
REFUSED_AS_UNSUPPORTED: Cases = {
    # config.json
    "bert": (config(position_embedding_type="absolute"), "not a JinaBERT; absolute"),
    "bert-without-the-key": (config(position_embedding_type=None), "not a JinaBERT; alibi"),
    "roberta": (config(model_type="roberta"), "not a JinaBERT; roberta"),
    "jina-v3": (config(model_type="xlm-roberta", position_embedding_type="rotary"), "not a JinaBERT; xlm-roberta"),
    "feed-forward-original": (config(feed_forward_type="original"), "feed_forward_type; original"),
    "feed-forward-missing": (config(feed_forward_type=None), "feed_forward_type"),
    "feed-forward-a-list": (config(feed_forward_type=["geglu"]), "feed_forward_type"),
    "activation": (config(hidden_act="silu"), "hidden_act; silu"),
    "pooler": (config(emb_pooler="cls"), "emb_pooler; cls"),
    # tensors
    "names-of-both-variants": (
        adding(encoder__layer__0__mlp__up_gated_layer__weight=(256, 64)),
        "not a JinaBERT; both; gated_layers; up_gated_layer",
    ),
    "names-of-bert": (weights(as_bert), "not a JinaBERT; neither; gated_layers; up_gated_layer"),
    # other models of the family
    **{
        f"architecture-{name}": (config(architectures=[name]), f"{words}; {name}")
        for name, words in {
            "JinaBertForTokenClassification": "a token classifier; labels every token",
            "JinaBertForQuestionAnswering": "a question answering model; marks an answer",
            "JinaBertForMultipleChoice": "a multiple choice model",
            "HF_ColBERT": "a ColBERT model; a vector for every token",
            "JinaCLIPModel": "a jina-clip model; other names",
        }.items()
    },
    "token-classifier": (
        all_of(
            without("pooler.dense.weight", "pooler.dense.bias"),
            adding(classifier__weight=(9, 64), classifier__bias=(9,)),
        ),
        "a token classifier; classifier.* and no pooler.*",
    ),
    "question-answering": (
        adding(bert__qa_outputs__weight=(2, 64), bert__qa_outputs__bias=(2,)),
        "a question answering model; qa_outputs.*",
    ),
    "colbert": (adding(linear__weight=(32, 64)), "a ColBERT model; linear.weight"),
    "jina-clip": (
        config(model_type="jina_clip", position_embedding_type=None),
        "a jina-clip model; jina-embeddings-v2",
    ),
    "jina-clip-text-tower": (
        adding(text_model__transformer__emb_ln__weight=(64,)),
        "a jina-clip model; text_model.*",
    ),
}


@pytest.mark.parametrize(
    ("path", "words"),
    [("nothing", "no such directory"), ("checkpoint/config.json", "is a file, not a directory")],
)
def test_what_is_no_directory_is_refused(path: str, words: str, copy_checkpoint: Copy):
    raised, message = refusal(copy_checkpoint(NAME).parent / path)

    assert raised is BundleNotFoundError
    assert words in message


def test_a_name_too_long_for_a_path_is_refused():
    raised, _ = refusal("a" * 300)

    assert raised is BundleNotFoundError


def test_a_revision_of_a_local_directory_is_refused(copy_checkpoint: Copy):
    with pytest.raises(InputError, match="revision 'main' is for hub ids"):
        open_checkpoint(copy_checkpoint(NAME), "main")


class Intruder:
    """Unpickling it creates a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.trace), "w")


@pytest.mark.parametrize(
    "save",
    [
        lambda intruder, path: torch.save({WORDS: intruder}, path),
        lambda intruder, path: torch.save({WORDS: intruder}, path, _use_new_zipfile_serialization=False),
        lambda intruder, path: path.write_bytes(pickle.dumps(intruder, 2)),
        lambda intruder, path: path.write_bytes(pickle.dumps(intruder)),
    ],
    ids=["zip", "before-zip", "bare", "bare-newer-protocol"],
)
def test_code_in_a_pickle_is_refused_and_never_run(save, copy_checkpoint: Copy, tmp_path: Path):
    directory = copy_checkpoint(NAME)
    (directory / "model.safetensors").unlink()
    save(Intruder(tmp_path / "trace"), directory / "pytorch_model.bin")

    raised, message = refusal(directory)

    assert raised is CheckpointError
    assert "pytorch_model.bin" in message
    assert "safetensors" in message
    assert not (tmp_path / "trace").exists()


def test_absurd_heads_are_refused_before_a_slope_is_computed(copy_checkpoint: Copy):
    directory = copy_checkpoint(NAME)
    config(hidden_size=2**20, num_attention_heads=2**20)(directory)
    tracemalloc.start()

    try:
        refusal(directory)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 10e6


# Folders of sentence-transformers.


def modules(*kinds: str, first_path: str = "") -> Alter:
    content = [
        {"path": f"{index}_{kind}" if index else first_path, "type": f"sentence_transformers.models.{kind}"}
        for index, kind in enumerate(kinds)
    ]

    def alter(directory: Path) -> None:
        (directory / "modules.json").write_text(json.dumps(content))
        pooling(mean_tokens=True)(directory)

    return alter


def pooling(include_prompt: bool | None = None, **flags: bool) -> Alter:
    """`1_Pooling/config.json` as sentence-transformers writes it: every mode is there, most are false."""
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    content: dict[str, Any] = {f"pooling_mode_{mode}": flags.get(mode, False) for mode in modes}
    if include_prompt is not None:
        content["include_prompt"] = include_prompt
    return write("1_Pooling/config.json", json.dumps({"word_embedding_dimension": 64} | content))


def pooling_by_name(mode: object) -> Alter:
    return write("1_Pooling/config.json", json.dumps({"word_embedding_dimension": 64, "pooling_mode": mode}))


def prompts(**content: Any) -> Alter:
    return write("config_sentence_transformers.json", json.dumps(content))


def transformer(**content: Any) -> Alter:
    return write("sentence_bert_config.json", json.dumps({"max_seq_length": None, "do_lower_case": False} | content))


def newer_transformer(**content: Any) -> Alter:
    """`sentence_bert_config.json` as sentence-transformers 5.5 writes it: without a length."""
    return write("sentence_bert_config.json", json.dumps({"transformer_task": "feature-extraction"} | content))


def tokenizer_limit(length: Any) -> Alter:
    return update(TOKENIZER, model_max_length=length)


POOLING = "1_Pooling/config.json"
TOKENIZER = "tokenizer_config.json"
PROMPTS = "config_sentence_transformers.json"
TRANSFORMER = "sentence_bert_config.json"
QUERY = {"query": "t7 "}
SENTENCE_REFUSED_AS_BROKEN: Cases = {
    "modules-an-object": (write("modules.json", "{}"), "modules.json; not a list"),
    "modules-not-json": (write("modules.json", "["), "modules.json; JSON"),
    "pooling-config-missing": (all_of(modules("Transformer", "Pooling"), remove(POOLING)), "1_Pooling/config.json"),
    "pooling-a-list": (write(POOLING, "[]"), f"{POOLING}; not a JSON object"),
    "length-zero": (transformer(max_seq_length=0), f"{TRANSFORMER}; max_seq_length is 0"),
    "length-a-text": (transformer(max_seq_length="512"), f"{TRANSFORMER}; max_seq_length is '512'"),
    **{
        f"newer-length-{name}": (
            all_of(newer_transformer(), tokenizer_limit(length)),
            f"{TOKENIZER}; model_max_length is {length!r}",
        )
        for name, length in {"zero": 0, "a-text": "512", "a-bool": True, "nan": math.nan, "broken": 17.5}.items()
    },
    "prompts-a-list": (prompts(prompts=["t7"]), f"{PROMPTS}; prompts"),
    "prompt-not-a-text": (prompts(prompts={"query": 7}), f"{PROMPTS}; prompts"),
    "default-prompt-unknown": (
        prompts(prompts=QUERY, default_prompt_name="passage"),
        f"{PROMPTS}; default_prompt_name; passage",
    ),
    "default-prompt-a-list": (prompts(prompts=QUERY, default_prompt_name=["query"]), f"{PROMPTS}; default_prompt_name"),
}
SENTENCE_REFUSED_AS_UNSUPPORTED: Cases = {
    "dense-first": (modules("Transformer", "Dense", "Pooling"), "modules.json; Dense"),
    "dense-after-normalize": (modules("Transformer", "Pooling", "Normalize", "Dense"), "Normalize, Dense"),
    "layer-norm": (modules("Transformer", "Pooling", "LayerNorm"), "modules.json; LayerNorm"),
    "normalize-first": (modules("Transformer", "Normalize", "Pooling"), "Transformer, Normalize"),
    "no-pooling": (modules("Transformer"), "modules.json; Transformer"),
    "bag-of-words": (modules("BoW", "Pooling"), "modules.json; BoW"),
    "transformer-not-at-top": (
        modules("Transformer", "Pooling", first_path="0_Transformer"),
        "modules.json; 0_Transformer",
    ),
    "weighted-mean": (pooling(weightedmean_tokens=True), f"{POOLING}; weightedmean"),
    "mean-sqrt": (pooling(mean_sqrt_len_tokens=True), f"{POOLING}; mean_sqrt_len"),
    "last-token": (pooling(lasttoken=True), f"{POOLING}; lasttoken"),
    "last-token-by-name": (pooling_by_name("lasttoken"), f"{POOLING}; lasttoken"),
    "two-modes": (pooling(cls_token=True, mean_tokens=True), f"{POOLING}; mean and cls"),
    "no-mode": (pooling(), f"{POOLING}; nothing"),
    "two-modes-one-by-default": (write(POOLING, '{"pooling_mode_cls_token": true}'), f"{POOLING}; mean and cls"),
    "no-prompts-yet-none-would-be-pooled": (
        pooling(mean_tokens=True, include_prompt=False),
        f"{POOLING}; include_prompt",
    ),
    "prompt-not-pooled": (
        all_of(pooling(mean_tokens=True, include_prompt=False), prompts(prompts=QUERY)),
        f"{POOLING}; include_prompt",
    ),
    "lower-case": (transformer(do_lower_case=True), f"{TRANSFORMER}; do_lower_case"),
    "task": (newer_transformer(transformer_task="fill-mask"), f"{TRANSFORMER}; transformer_task; fill-mask"),
    "processing": (
        newer_transformer(processing_kwargs={"text": {"max_length": 9}}),
        f"{TRANSFORMER}; processing_kwargs",
    ),
}


BROKEN = REFUSED_AS_BROKEN | SENTENCE_REFUSED_AS_BROKEN
UNSUPPORTED = REFUSED_AS_UNSUPPORTED | SENTENCE_REFUSED_AS_UNSUPPORTED


@pytest.mark.parametrize("name", BROKEN | UNSUPPORTED)
def test_what_cannot_be_exported_is_refused_with_one_clear_error(name: str, copy_checkpoint: Copy):
    """Damage as such, and by its name a part that would change the vectors."""
    alter, words = BROKEN[name] if name in BROKEN else UNSUPPORTED[name]
    directory = copy_checkpoint(NAME)
    open_checkpoint(directory).load_encoder()  # it is the alteration that is refused
    alter(directory)

    raised, message = refusal(directory)

    assert raised is (CheckpointError if name in BROKEN else UnsupportedCheckpointError)
    assert not [word for word in words.split("; ") if word not in message], message


# The alteration, and what it makes of the settings.
HONOURED: dict[str, tuple[Alter, dict[str, object]]] = {
    "nothing": (lambda directory: None, {}),
    "mean": (modules("Transformer", "Pooling"), {}),
    "normalize": (modules("Transformer", "Pooling", "Normalize"), {"normalize": True}),
    "cls": (all_of(modules("Transformer", "Pooling"), pooling(cls_token=True)), {"pooling": "cls"}),
    "max": (all_of(modules("Transformer", "Pooling"), pooling(max_tokens=True)), {"pooling": "max"}),
    "cls-by-name": (all_of(modules("Transformer", "Pooling"), pooling_by_name("cls")), {"pooling": "cls"}),
    "pooling-elsewhere": (
        all_of(
            write("modules.json", '[{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "pool"}]'),
            write("pool/config.json", '{"pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": false}'),
        ),
        {"pooling": "max"},
    ),
    "length": (transformer(max_seq_length=512), {"max_length": 512}),
    "newer-length": (all_of(newer_transformer(), tokenizer_limit(256)), {"max_length": 256}),
    "newer-length-with-an-own-one": (
        all_of(newer_transformer(max_seq_length=99), tokenizer_limit(256)),
        {"max_length": 99},
    ),
    **{
        f"newer-length-absurd-{length:.0e}": (all_of(newer_transformer(), tokenizer_limit(length)), {})
        for length in (1e30, int(1e30), 2**31, math.inf)
    },
    "newer-length-missing": (all_of(newer_transformer(processing_kwargs={}), tokenizer_limit(None)), {}),
    "newer-length-without-the-file": (all_of(newer_transformer(), remove(TOKENIZER)), {}),
    "tokenizers-length-in-other-folders": (tokenizer_limit(512), {}),
    "tokenizers-length-in-older-folders": (all_of(transformer(), tokenizer_limit(512)), {}),
    "prompts": (prompts(prompts=QUERY), {"prompts": QUERY}),
    "default-prompt": (
        prompts(prompts=QUERY, default_prompt_name="query"),
        {"prompts": QUERY, "default_prompt": "query"},
    ),
}


@pytest.mark.parametrize("name", HONOURED)
def test_what_a_folder_adds_is_honoured(name: str, copy_checkpoint: Copy):
    alter, changed = HONOURED[name]
    expected = replace(SentenceSettings(prompts={}), **changed)
    directory = copy_checkpoint(NAME)
    alter(directory)

    assert read_sentence_settings(directory) == expected
    assert open_checkpoint(directory).settings == expected


@pytest.mark.parametrize(("asked", "given"), [(None, 8192), (512, 512), (8192, 8192), (100_000, 8192)])
def test_the_length_is_the_folders_own_up_to_the_models(asked, given, copy_checkpoint: Copy):
    directory = copy_checkpoint(NAME)
    transformer(max_seq_length=asked)(directory)

    assert open_checkpoint(directory).max_length == given


def vectors_of(directory: Path, texts: list[str]) -> np.ndarray:
    checkpoint = open_checkpoint(directory)
    return embed(checkpoint, checkpoint.load_encoder(), texts)


@pytest.mark.parametrize(
    ("alter", "vector_of"),
    [
        (pooling(cls_token=True), lambda tokens: tokens[0]),
        (pooling(max_tokens=True), lambda tokens: tokens.max(0)),
        (
            modules("Transformer", "Pooling", "Normalize"),
            lambda tokens: tokens.mean(0) / np.linalg.norm(tokens.mean(0)),
        ),
    ],
    ids=["cls", "max", "normalize"],
)
def test_pooling_and_normalize_give_their_vectors(alter, vector_of, copy_checkpoint: Copy):
    golden, directory = read_golden(NAME), copy_checkpoint(NAME)
    alter(directory)

    expected = [vector_of(tokens) for tokens in golden.of_each_text()]

    np.testing.assert_allclose(vectors_of(directory, golden.texts), expected, rtol=0, atol=2e-5)


def test_the_default_prompt_stands_before_every_text(copy_checkpoint: Copy):
    directory = copy_checkpoint(NAME)
    plain = vectors_of(directory, ["t7 t20", "t7 t30 t31"])
    prompts(prompts=QUERY, default_prompt_name="query")(directory)

    np.testing.assert_array_equal(vectors_of(directory, ["t20", "t30 t31"]), plain)
