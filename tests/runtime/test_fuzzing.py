"""Mutated files of a bundle give a clear error or a right result, never a crash, a hang or gigabytes.

Each kind of case is one file and what reads it; `fuzzing` runs the cases in children.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random

import numpy as np
import onnxruntime
import pytest
import tokenizers
from fuzzing import TIMES, Case, Kinds, fuzz, mutate_bytes, mutate_text, run_child
from jinabert_onnx import Embedder
from jinabert_onnx.bundle.archive import pack, unpack
from jinabert_onnx.bundle.file_records import record_file
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.bundle.probes import compare, read_probes
from jinabert_onnx.bundle.protobuf import LENGTH_DELIMITED, MalformedError, read_fields
from jinabert_onnx.cli import info
from jinabert_onnx.text.tokenizer import Tokenizer
from support.bundles import record_again
from support.paths import BUNDLES

BUNDLE = BUNDLES / "plain-4h"
TEXTS = ["t7 t8 t9", "x", "Straße t3 🚆"]


def mutate_onnx(content: bytes, positions: list[int], random: Random) -> bytes:
    """Bytes changed where the structure is, which weights are not; sometimes anywhere."""
    if random.random() < 0.2:
        return mutate_bytes(content, random)
    edited = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4))):
        position = random.choice(positions)
        edited[position] = random.choice((edited[position] ^ 1 << random.randrange(8), random.randrange(256), 0, 0x7F))
    return bytes(edited)


def structure(content: bytes, start: int, stop: int) -> list[int] | None:
    """Positions of the bytes of a protobuf message that are not contents of tensors; None if it is no message."""
    positions: list[int] = []
    position = start
    try:
        for _, kind, begin, end, _ in read_fields(content, start, stop, count()):
            holds_bytes = kind == LENGTH_DELIMITED
            positions += range(position, begin if holds_bytes else end)
            if holds_bytes:
                positions += structure(content, begin, end) or (range(begin, end) if end - begin <= 64 else ())
            position = end
    except MalformedError:
        return None
    return positions


def copy_of(bundle: Path, directory: Path) -> Path:
    return Path(shutil.copytree(bundle, directory / "bundle"))


def put(bundle: Path, name: str, content: bytes) -> None:
    """Write a file, and a manifest that agrees with it."""
    (bundle / name).write_bytes(content)
    record_again(bundle, name)


def load(bundle: Path, precision: str, integrity: str, self_test: bool) -> Embedder:
    return Embedder.load(
        bundle, precision=precision, provider="cpu", threads=1, integrity=integrity, self_test=self_test
    )


def require_vectors(vectors: np.ndarray) -> None:
    assert vectors.shape == (len(TEXTS), 64)
    assert vectors.dtype == np.float32


def manifests(directory: Path) -> Case:
    """What the mutated manifest describes is what is computed."""
    bundle = copy_of(BUNDLE, directory)
    content, original = (bundle / "manifest.json").read_bytes(), open_bundle(BUNDLE).manifest
    expected = load(BUNDLE, "fp32", "full", True).encode(TEXTS)
    same = ("pooling", "default_max_length", "prompts", "default_prompt")
    parser = ArgumentParser()
    info.COMMAND.add_arguments(parser)
    arguments = parser.parse_args([str(bundle)])

    def case(random: Random) -> None:
        (bundle / "manifest.json").write_bytes(mutate_text(content, random))
        with contextlib.redirect_stdout(io.StringIO()):
            assert info.COMMAND.run(arguments) == 0
        if random.random() < 0.6:  # loading takes most of the time
            return
        model = load(bundle, "fp32", random.choice(("full", "off")), random.random() < 0.5)
        vectors = model.encode(TEXTS)
        require_vectors(vectors)
        if all(getattr(model.bundle.manifest, name) == getattr(original, name) for name in same):
            np.testing.assert_array_equal(vectors, expected)

    return case


def tokenizers_of(name: str) -> Callable[[Path], Case]:
    """Texts become ids in the vocabulary, as many as are asked for."""

    def make(directory: Path) -> Case:
        content = (BUNDLES / name / "tokenizer.json").read_bytes()

        def case(random: Random) -> None:
            (directory / "tokenizer.json").write_bytes(mutate_text(content, random))
            tokenizer = Tokenizer(directory / "tokenizer.json")
            length = tokenizer.special_tokens + 3
            tokens = tokenizer(TEXTS, length)
            assert max(len(ids) for ids in tokens.input_ids) <= length
            assert max(ids.max() for ids in tokens.input_ids) <= tokenizer.largest_id

        return case

    return make


def probes(directory: Path) -> Case:
    """Damaged probes are refused; those that are read can be compared with."""
    bundle = copy_of(BUNDLE, directory)
    content = (bundle / "probes.json").read_bytes()

    def case(random: Random) -> None:
        put(bundle, "probes.json", mutate_text(content, random))
        probes = read_probes(open_bundle(bundle))
        assert probes.vectors.shape == (len(probes.texts), 64)
        assert probes.vectors.dtype == np.float32
        if random.random() < 0.05:
            require_vectors(load(bundle, "fp32", "full", True).encode(TEXTS))

    return case


def archives(directory: Path) -> Case:
    """What comes out of a mutated archive is the bundle that went in, but for what no hash covers."""
    pack(BUNDLE, directory / "whole.tar")
    content = (directory / "whole.tar").read_bytes()
    headers = [position for position in range(0, len(content), 512) if content[position + 257 :].startswith(b"ustar")]

    def case(random: Random) -> None:
        shutil.rmtree(directory / "out", ignore_errors=True)
        edited = bytearray(mutate_bytes(content, random) if random.random() < 0.3 else content)
        start = random.choice(headers)
        edited[start : start + 512] = mutate_header(content[start : start + 512], random)
        (directory / "mutated.tar").write_bytes(edited)
        unpack(directory / "mutated.tar", directory / "out")
        for name, record in open_bundle(directory / "out").manifest.files.items():
            assert record_file(directory / "out" / name) == record

    return case


def mutate_header(block: bytes, random: Random) -> bytes:
    """A tar header with bytes changed and, mostly, a checksum that fits."""
    edited = bytearray(block)
    for _ in range(random.randint(1, 3)):
        edited[random.choice((random.randrange(500), random.randrange(124, 136), 156))] = random.choice(
            (random.randrange(256), *b"01234567xgLKSD", 0, 0x80, 0xFF)
        )
    if random.random() < 0.9:
        edited[148:156] = b" " * 8
        edited[148:156] = b"%06o\0 " % sum(edited)
    return bytes(edited)


def graphs(precision: str, integrity: str) -> Callable[[Path], Case]:
    """A graph that is loaded computes what it should: the self-test has seen it."""

    def make(directory: Path) -> Case:
        bundle = copy_of(BUNDLE, directory)
        name = open_bundle(bundle).files_of(precision)[0]
        content = (bundle / name).read_bytes()
        positions = structure(content, 0, len(content))
        assert positions is not None
        assert len(positions) > 1000
        self_test = read_probes(open_bundle(BUNDLE)).self_test

        def case(random: Random) -> None:
            put(bundle, name, mutate_onnx(content, positions, random))
            model = load(bundle, precision, integrity, True)
            require_vectors(model.encode(TEXTS))
            agreement = compare(model.encode(self_test.texts), self_test.vectors[precision])
            assert agreement.min_cosine >= 0.999

        return case

    return make


def hashed(directory: Path) -> Case:
    """Any change of any file that is read is found by its hash."""
    bundle = copy_of(BUNDLE, directory)
    contents = {name: (bundle / name).read_bytes() for name in ("tokenizer.json", "probes.json", "onnx/model.onnx")}

    def case(random: Random) -> None:
        name = random.choice(list(contents))
        mutated = mutate_bytes(contents[name], random)
        (bundle / name).write_bytes(mutated)
        try:
            load(bundle, "fp32", "full", True)
            assert mutated == contents[name]
        finally:
            (bundle / name).write_bytes(contents[name])

    return case


KINDS: Kinds = {
    "manifests": manifests,
    "tokenizers": tokenizers_of("plain-4h"),
    "trained-tokenizers": tokenizers_of("tiny-de-en"),
    "probes": probes,
    "archives": archives,
    "hashed": hashed,
    "fp32-graphs": graphs("fp32", "full"),
    "int8-graphs": graphs("int8", "full"),
    "fp32-graphs-unchecked": graphs("fp32", "off"),
    "int8-graphs-unchecked": graphs("int8", "off"),
}


@pytest.mark.parametrize(
    ("kind", "cases"),
    [
        ("manifests", 300),
        ("tokenizers", 1500),
        ("trained-tokenizers", 50),
        ("probes", 300),
        ("archives", 1200),
        ("fp32-graphs", 125),
        ("int8-graphs", 125),
    ],
)
def test_mutations_are_refused_or_give_a_right_result(kind: str, cases: int) -> None:
    outcomes = fuzz(__file__, kind, cases * TIMES)
    deaths = {outcome for outcome in outcomes if "the child ended with" in outcome}
    assert set(outcomes) - deaths == {"right", "refused"}
    assert len(deaths) <= (3 * TIMES if library_fails(kind) else 0), deaths


def library_fails(kind: str) -> bool:
    """Whether the installed release hangs or crashes by itself on some damaged files whose hashes fit."""
    module, first = (onnxruntime, (1, 28)) if "graphs" in kind else (tokenizers, (0, 23))
    return tuple(map(int, module.__version__.split(".")[:2])) < first


def test_mutations_of_what_a_hash_covers_are_refused() -> None:
    assert set(fuzz(__file__, "hashed", 500 * TIMES)) == {"refused"}


if __name__ == "__main__":
    run_child(KINDS, sys.argv[1:])
