"""Every supported form of a checkpoint gives the same encoder, and the encoder is the original's."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder.alibi import alibi_attention, alibi_slopes
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.operators.padded_attention import QUERY_BLOCK
from jinabert_onnx_export.verify.reference import embed, run_torch
from safetensors.torch import load_file, save_file
from support.bundles import edit_json, update_json
from support.references import read_golden
from torch import Tensor

Tensors = dict[str, Tensor]
Copy = Callable[[str], Path]

PLAIN, QK_POST_NORM = "plain-4h", "qk-post-norm-12h"


def encoder_of(directory: Path) -> JinaBertEncoder:
    return open_checkpoint(directory).load_encoder()


def take_weights(directory: Path) -> Tensors:
    """The tensors of a copied golden; the file is gone, so that a test's own can stand in its place."""
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    return tensors


def halves(tensors: Tensors) -> tuple[Tensors, Tensors]:
    middle = len(tensors) // 2
    items = list(tensors.items())
    return dict(items[:middle]), dict(items[middle:])


def write_index(path: Path, shards: Mapping[str, Tensors]) -> None:
    weight_map = {name: shard for shard, tensors in shards.items() for name in tensors}
    path.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))


def as_safetensors(directory: Path, tensors: Tensors) -> None:
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def as_sharded_safetensors(directory: Path, tensors: Tensors) -> None:
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    shards = dict(zip(names, halves(tensors), strict=True))
    for name, shard in shards.items():
        save_file(shard, directory / name)
    write_index(directory / "model.safetensors.index.json", shards)


def as_pickle(directory: Path, tensors: Tensors) -> None:
    torch.save(tensors, directory / "pytorch_model.bin")


def as_pickle_of_parameters(directory: Path, tensors: Tensors) -> None:
    torch.save({name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}, directory / "pytorch_model.bin")


def as_pickle_before_zip(directory: Path, tensors: Tensors) -> None:
    torch.save(tensors, directory / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def as_sharded_pickle(directory: Path, tensors: Tensors) -> None:
    names = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
    shards = dict(zip(names, halves(tensors), strict=True))
    for name, shard in shards.items():
        torch.save(shard, directory / name)
    write_index(directory / "pytorch_model.bin.index.json", shards)


def with_prefix(tensors: Tensors) -> Tensors:
    return {f"bert.{name}": tensor for name, tensor in tensors.items()}


def without_pooler(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("pooler.")}


def with_masked_lm_head(tensors: Tensors) -> Tensors:
    """As a masked-LM model saves itself: the encoder behind `bert.`, the head beside it."""
    return with_prefix(without_pooler(tensors)) | {
        "cls.predictions.bias": torch.ones(500),
        "cls.predictions.transform.dense.weight": torch.ones(64, 64),
        "cls.predictions.decoder.weight": torch.full((500, 64), math.nan),
    }


def with_bare_heads(tensors: Tensors) -> Tensors:
    return tensors | {"cls.seq_relationship.weight": torch.ones(2, 64), "pooler.dense.extra": torch.ones(3)}


FORMATS = (
    as_safetensors,
    as_sharded_safetensors,
    as_pickle,
    as_pickle_of_parameters,
    as_pickle_before_zip,
    as_sharded_pickle,
)
NAMED_OTHERWISE = (with_prefix, without_pooler, with_masked_lm_head, with_bare_heads)


@pytest.mark.parametrize(
    ("name", "write", "rename"),
    [
        *((name, write, dict) for name in (PLAIN, QK_POST_NORM) for write in FORMATS),
        *((PLAIN, as_safetensors, rename) for rename in NAMED_OTHERWISE),
    ],
)
def test_formats_prefixes_and_unused_heads_do_not_change_the_encoder(name, write, rename, copy_checkpoint: Copy):
    golden, directory = read_golden(name), copy_checkpoint(name)
    write(directory, rename(take_weights(directory)))

    output = run_torch(encoder_of(directory), golden.input_ids, golden.attention_mask)

    np.testing.assert_array_equal(
        output, run_torch(encoder_of(golden.path), golden.input_ids, golden.attention_mask), strict=True
    )


@pytest.mark.parametrize("write", [as_safetensors, as_pickle])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["F16", "BF16"])
@pytest.mark.parametrize("part", ["", "embeddings.word_embeddings.weight"], ids=["all", "mixed"])
def test_half_precision_weights_are_read_as_the_values_they_hold(part, dtype, write, copy_checkpoint: Copy):
    directory = copy_checkpoint(PLAIN)
    tensors = take_weights(directory)
    tensors |= {name: tensor.to(dtype) for name, tensor in tensors.items() if part in name}
    write(directory, tensors)

    loaded = encoder_of(directory).state_dict()

    assert loaded.keys() == without_pooler(tensors).keys()
    for name, value in loaded.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, tensors[name].float())


@pytest.mark.parametrize(("name", "variant"), [(PLAIN, "plain"), (QK_POST_NORM, "qk-post-norm")])
@pytest.mark.parametrize("repository", [None, "jina-bert-implementation", "jina-bert-v2-qk-post-norm"])
def test_the_variant_is_told_from_the_tensor_names_alone(name, variant, repository, copy_checkpoint: Copy):
    directory = copy_checkpoint(name)
    edit_json(directory / "config.json", lambda config: config.pop("auto_map"))
    if repository is not None:
        code = {"AutoModel": f"jinaai/{repository}--modeling_bert.JinaBertModel"}
        update_json(directory / "config.json", auto_map=code)

    assert open_checkpoint(directory).variant == variant


def test_code_in_the_checkpoint_is_never_run(copy_checkpoint: Copy):
    directory = copy_checkpoint(PLAIN)
    trace = directory / "trace"
    (directory / "modeling.py").write_text(f"open({str(trace)!r}, 'w')\nclass Model: ...\n")
    code = {"AutoModel": "modeling.Model", "AutoConfig": "modeling.Model"}
    update_json(directory / "config.json", auto_map=code)

    encoder_of(directory)

    assert not trace.exists()


def test_a_batch_is_within_1e_5_of_the_original(golden):
    output = run_torch(encoder_of(golden.path), golden.input_ids, golden.attention_mask)

    np.testing.assert_allclose(output[golden.attention_mask == 1], golden.token_embeddings, rtol=0, atol=1e-5)


def test_each_text_alone_is_within_1e_5_of_the_original(golden):
    encoder = encoder_of(golden.path)
    for row, length, expected in zip(golden.input_ids, golden.lengths, golden.of_each_text(), strict=True):
        output = run_torch(encoder, row[None, :length], np.ones((1, length), np.int64))
        np.testing.assert_allclose(output[0], expected, rtol=0, atol=1e-5)


def test_vectors_of_texts_are_within_2e_5_of_the_original(golden):
    checkpoint = open_checkpoint(golden.path)

    vectors = embed(checkpoint, checkpoint.load_encoder(), golden.texts)

    np.testing.assert_allclose(vectors, golden.pooled, rtol=0, atol=2e-5)


# The goldens hold no qk-post-norm checkpoint with ReLU.
@pytest.mark.parametrize(
    ("kind", "activate"), [("geglu", torch.nn.functional.gelu), ("reglu", torch.relu)], ids=["geglu", "reglu"]
)
@pytest.mark.parametrize("name", [PLAIN, QK_POST_NORM])
def test_the_feed_forward_activates_its_variants_half(name, kind, activate, copy_checkpoint: Copy):
    directory = copy_checkpoint(name)
    update_json(directory / "config.json", feed_forward_type=kind)
    checkpoint = open_checkpoint(directory)
    hidden_states = torch.randn(2, 3, checkpoint.config.hidden_size, generator=torch.Generator().manual_seed(0))
    mlp = checkpoint.load_encoder().encoder.layer[0].mlp

    if name == PLAIN:
        first, second = mlp.gated_layers(hidden_states).chunk(2, -1)
        expected = mlp.layernorm(mlp.wo(activate(first) * second) + hidden_states)
    else:
        first, second = mlp.up_gated_layer(hidden_states).chunk(2, -1)
        expected = mlp.down_layer(first * activate(second))

    torch.testing.assert_close(mlp(hidden_states), expected, rtol=0, atol=1e-6)


def slopes_by_the_paper(heads: int) -> list[float]:
    power = 1 << (heads.bit_length() - 1)

    def of_power(n: int) -> list[float]:
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start**exponent for exponent in range(1, n + 1)]

    return of_power(power) + of_power(2 * power)[0::2][: heads - power]


@pytest.mark.parametrize("heads", range(1, 65))
def test_slopes_follow_the_formula(heads):
    slopes = alibi_slopes(heads)

    assert len(slopes) == heads
    assert slopes == pytest.approx(slopes_by_the_paper(heads), rel=1e-12)


def attend_naively(query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor, slopes: list[float]) -> Tensor:
    """All scores at once, in float64, head by head."""
    batch, sequence, hidden = query.shape
    size = hidden // len(slopes)
    positions = torch.arange(sequence, dtype=torch.float64)
    distances = (positions[:, None] - positions[None, :]).abs()
    context = torch.empty(batch, sequence, hidden, dtype=torch.float64)
    for row in range(batch):
        for head, slope in enumerate(slopes):
            part = slice(head * size, (head + 1) * size)
            q, k, v = (tensor[row, :, part].double() for tensor in (query, key, value))
            scores = q @ k.T / math.sqrt(size) - slope * distances
            scores[:, ~key_mask[row]] = -math.inf
            context[row, :, part] = scores.softmax(-1) @ v
    return context


def some_attention(lengths: tuple[int, ...], heads: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(heads)
    sequence = max(lengths)
    query, key, value = (torch.randn(len(lengths), sequence, heads * 4, generator=generator) for _ in range(3))
    key_mask = torch.arange(sequence) < torch.tensor(lengths)[:, None]
    return query, key, value, key_mask


@pytest.mark.parametrize(
    "lengths",
    [
        (1,),
        (QUERY_BLOCK - 1,),
        (QUERY_BLOCK,),
        (QUERY_BLOCK + 1,),
        (2 * QUERY_BLOCK + 1,),
        (2 * QUERY_BLOCK + 1, QUERY_BLOCK, 3),
        (1, QUERY_BLOCK + 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("heads", [3, 8])
def test_attention_in_blocks_equals_attention_at_once(lengths, heads):
    query, key, value, key_mask = some_attention(lengths, heads)
    slopes = alibi_slopes(heads)

    context = alibi_attention(query, key, value, key_mask, slopes)

    assert context.dtype == torch.float32
    expected = attend_naively(query, key, value, key_mask, slopes)
    # Rows beyond a text's end see its keys from afar, with biases in the hundreds: float32 rounds these scores.
    torch.testing.assert_close(context.double(), expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(context[key_mask].double(), expected[key_mask], rtol=0, atol=2e-6)


def test_holes_in_the_mask_hide_their_keys():
    query, key, value, key_mask = some_attention((QUERY_BLOCK + 1, QUERY_BLOCK + 1), 4)
    key_mask &= torch.rand(key_mask.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    slopes = alibi_slopes(4)

    context = alibi_attention(query, key, value, key_mask, slopes)

    expected = attend_naively(query, key, value, key_mask, slopes)
    torch.testing.assert_close(context.double(), expected, rtol=0, atol=2e-6)  # every row has keys near by


def test_a_row_without_any_visible_key_attends_to_all_evenly():
    query, key, value, key_mask = some_attention((QUERY_BLOCK + 1, 7), 4)
    key_mask[1] = False

    context = alibi_attention(query, key, value, key_mask, alibi_slopes(4))

    torch.testing.assert_close(context[1], value[1].mean(0).expand_as(context[1]), rtol=0, atol=1e-6)


def test_an_empty_mask_gives_finite_token_embeddings_and_leaves_the_others_alone(golden):
    encoder = encoder_of(golden.path)
    mask = golden.attention_mask.copy()
    mask[0] = 0

    output = run_torch(encoder, golden.input_ids, mask)

    assert np.isfinite(output).all()
    np.testing.assert_array_equal(output[1:], run_torch(encoder, golden.input_ids, golden.attention_mask)[1:])
