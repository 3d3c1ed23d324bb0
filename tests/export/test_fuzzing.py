"""Mutated files of a checkpoint give a clear error or finite weights, never a crash, a hang or gigabytes.

Each kind of case is one file that `open_checkpoint` reads; `fuzzing` runs the cases in children.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest
import torch
from conftest import GOLDENS
from fuzzing import TIMES, Case, Kinds, fuzz, mutate_bytes, mutate_json, mutate_text, run_child
from jinabert_onnx_export.checkpoint.read import Checkpoint, open_checkpoint
from safetensors.torch import load_file

CHECKPOINT = GOLDENS / "plain-4h"
WEIGHTS = "model.safetensors"
FOLDER: dict[str, object] = {  # what a sentence-transformers folder adds
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "1_Pooling/config.json": {"word_embedding_dimension": 64, "pooling_mode_mean_tokens": True},
    "sentence_bert_config.json": {"max_seq_length": 128, "do_lower_case": False},
    "config_sentence_transformers.json": {"prompts": {"query": "query: "}, "default_prompt_name": None},
}

Mutate = Callable[[bytes, Random], bytes]


def mutate_safetensors(content: bytes, random: Random) -> bytes:
    """The header's length or its JSON mutated, with a length that fits or not."""
    length = int.from_bytes(content[:8], "little")
    header, tensors = content[8 : 8 + length], content[8 + length :]
    if random.random() < 0.2:
        return mutate_bytes(content[: 8 + length], random) + tensors
    mutated = mutate_json(header, random) if random.random() < 0.5 else mutate_bytes(header, random)
    fitting = random.choice((len(mutated), len(mutated), len(mutated), length, random.getrandbits(64)))
    return fitting.to_bytes(8, "little") + mutated + tensors[: random.choice((None, None, -1, 1000))]


def mutate_pickle(content: bytes, random: Random) -> bytes:
    """Mostly in what describes the tensors; they are stored as they are, at length."""
    if random.random() < 0.3:
        return mutate_bytes(content, random)
    start = content.find(b"data.pkl")
    stop = content.find(b"PK", start)
    return content[:start] + mutate_bytes(content[start:stop], random) + content[stop:]


def require_finite(opened: Checkpoint) -> None:
    parameters = opened.load_encoder().state_dict()
    assert {name: tuple(value.shape) for name, value in parameters.items()} == {
        name: stored.shape for name, stored in opened.tensors.items()
    }
    assert all(torch.isfinite(value).all() for value in parameters.values())
    assert 1 <= opened.max_length <= opened.config.max_position_embeddings


def reading(names: Sequence[str], mutate: Mutate, prepare: Callable[[Path], object]) -> Callable[[Path], Case]:
    """Cases that mutate one of these files of a checkpoint and read it all."""

    def make(directory: Path) -> Case:
        checkpoint = Path(shutil.copytree(CHECKPOINT, directory / "checkpoint"))
        prepare(checkpoint)
        contents = {name: (checkpoint / name).read_bytes() for name in names}
        open_checkpoint(checkpoint).load_encoder()  # torch takes its memory at the first use

        def case(random: Random) -> None:
            name = random.choice(names)
            (checkpoint / name).write_bytes(mutate(contents[name], random))
            try:
                require_finite(open_checkpoint(checkpoint))
            finally:
                (checkpoint / name).write_bytes(contents[name])

        return case

    return make


def nothing(checkpoint: Path) -> None:
    """The checkpoint is as it should be."""


def add_folder(checkpoint: Path) -> None:
    for name, content in FOLDER.items():
        (checkpoint / name).parent.mkdir(exist_ok=True)
        (checkpoint / name).write_text(json.dumps(content))


def pickle_weights(checkpoint: Path) -> None:
    torch.save(load_file(checkpoint / WEIGHTS), checkpoint / "pytorch_model.bin")
    (checkpoint / WEIGHTS).unlink()


def make_one_shard(checkpoint: Path) -> None:
    weight_map = dict.fromkeys(load_file(checkpoint / WEIGHTS), "model-1.safetensors")
    (checkpoint / WEIGHTS).rename(checkpoint / "model-1.safetensors")
    (checkpoint / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


KINDS: Kinds = {
    "config": reading(["config.json"], mutate_text, nothing),
    "tokenizer": reading(["tokenizer.json"], mutate_text, nothing),
    "safetensors": reading([WEIGHTS], mutate_safetensors, nothing),
    "index": reading([f"{WEIGHTS}.index.json"], mutate_text, make_one_shard),
    "pickle": reading(["pytorch_model.bin"], mutate_pickle, pickle_weights),
    "folder": reading(list(FOLDER), mutate_text, add_folder),
}


@pytest.mark.parametrize(
    ("kind", "count"),
    [("config", 150), ("tokenizer", 150), ("safetensors", 300), ("index", 150), ("pickle", 150), ("folder", 200)],
)
def test_mutations_are_refused_or_give_finite_weights(kind: str, count: int) -> None:
    assert set(fuzz(__file__, kind, count * TIMES)) == {"right", "refused"}


if __name__ == "__main__":
    run_child(KINDS, sys.argv[1:])
