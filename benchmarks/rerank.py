"""Order documents for one query: our reranker beside torch and a plain export, taking turns in one process.

    python benchmarks/make_checkpoint.py build/turbo --size turbo --labels 1
    jinabert-onnx export build/turbo build/turbo-bundle --precision fp32 int8
    python benchmarks/rerank.py build/turbo build/turbo-bundle --work build/rerank

50 documents of 20 to 300 tokens, 2 threads. The others run padded batches of 32 pairs sorted by length, as
sentence-transformers does; all times include tokenizing. Medians, and medians of the ratios of each round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads of torch that wait must not take the others' turn

import numpy as np
import torch
from jinabert_onnx import CrossEncoder
from jinabert_onnx.bench.machine import result_line
from jinabert_onnx.bench.texts import TextMaker
from jinabert_onnx.bundle.score_agreement import activate
from jinabert_onnx.engine.batching import pad
from jinabert_onnx.text.pair_tokenizer import tokenize_pairs
from jinabert_onnx.text.tokenizer import Tokenizer
from numpy.typing import NDArray
from peers.plain import load, write
from peers.plain_cross_encoder import PlainCrossEncoder

QUERY_TOKENS, DOCUMENTS, SHORTEST, LONGEST = 16, 50, 20, 300
BATCH = 32
REST = 0.3  # seconds between turns, in which threads of the one before stop spinning

Scores = NDArray[np.float32]  # (documents,)
Rank = Callable[[], Scores]
Logits = Callable[[np.ndarray, np.ndarray], np.ndarray]


def make_texts(bundle: Path) -> tuple[str, list[str]]:
    """Return a query and documents of evenly spread lengths, in a shuffled order."""
    maker, generator = TextMaker(bundle), np.random.default_rng(0)
    lengths = generator.permutation(np.linspace(SHORTEST, LONGEST, DOCUMENTS).astype(int)).tolist()
    return maker.make(QUERY_TOKENS, generator), [maker.make(length, generator) for length in lengths]


def ours(bundle: Path, precision: str, kernels: str, threads: int, query: str, documents: list[str]) -> Rank:
    """Return what ranks with this project's runtime."""
    model = CrossEncoder.load(bundle, precision=precision, kernels=kernels, threads=threads)

    def rank() -> Scores:
        scores = np.empty(len(documents), dtype=np.float32)
        for found in model.rank(query, documents):
            scores[found.index] = found.score
        return scores

    return rank


def theirs(logits: Logits, tokenizer: Tokenizer, query: str, documents: list[str]) -> Rank:
    """Return what ranks with padded batches sorted by length."""

    def rank() -> Scores:
        rows = [row.input_ids for row in tokenize_pairs(tokenizer, [(query, text) for text in documents], 1024)]
        order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
        scores = np.empty((len(rows), 1), dtype=np.float32)
        for start in range(0, len(rows), BATCH):
            chosen = order[start : start + BATCH]
            scores[chosen] = activate(logits(*pad([rows[index] for index in chosen])), "sigmoid")
        return scores[:, 0]

    return rank


def contenders(checkpoint: Path, bundle: Path, work: Path, threads: int) -> dict[str, Rank]:
    """Load everything that takes turns, by name."""
    torch.set_num_threads(threads)
    query, documents = make_texts(bundle)
    tokenizer = Tokenizer(bundle / "tokenizer.json")
    model = PlainCrossEncoder.open(checkpoint)
    plain = work / "plain.onnx"
    work.mkdir(parents=True, exist_ok=True)
    write(model, "logits", str(plain))
    run_plain, _ = load(str(plain), str(threads))
    found = {
        "torch": theirs(model.logits, tokenizer, query, documents),
        "plain": theirs(run_plain, tokenizer, query, documents),
    }
    for precision in ("fp32", "int8"):
        for kernels in ("off", "require"):
            name = f"ours-{precision}{'-native' if kernels == 'require' else ''}"
            found[name] = ours(bundle, precision, kernels, threads, query, documents)
    return found


def measure(ranks: dict[str, Rank], rounds: int) -> dict[str, list[float]]:
    """Let all take turns: seconds of each round, by name."""
    seconds: dict[str, list[float]] = {name: [] for name in ranks}
    for rank in ranks.values():
        rank()
    for _ in range(rounds):
        for name, rank in ranks.items():
            time.sleep(REST)
            start = time.perf_counter()
            rank()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def differences(ranks: dict[str, Rank]) -> dict[str, float]:
    """Return the largest difference of each one's scores from torch's."""
    right = ranks["torch"]()
    return {name: float(np.abs(rank() - right).max()) for name, rank in ranks.items()}


def main() -> None:
    """Measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path, help="exported from the checkpoint, fp32 and int8")
    parser.add_argument("--work", type=Path, required=True, help="directory for the plain export")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=11, help="default: %(default)s")
    arguments = parser.parse_args()
    ranks = contenders(arguments.checkpoint, arguments.bundle, arguments.work, arguments.threads)
    seconds, off = measure(ranks, arguments.rounds), differences(ranks)
    print("| | median | / torch | / plain export | largest difference of a score |\n|---|---|---|---|---|")
    results = {}
    for name, values in seconds.items():
        ratios = {
            other: statistics.median(a / b for a, b in zip(values, seconds[other], strict=True))
            for other in ("torch", "plain")
        }
        median = statistics.median(values)
        results[name] = {"median": median, "largest_difference": off[name]} | ratios
        print(f"| {name} | {median:.3f} s | {ratios['torch']:.2f} | {ratios['plain']:.2f} | {off[name]:.1e} |")
    print(result_line("rerank", results))


if __name__ == "__main__":
    main()
