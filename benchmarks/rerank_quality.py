"""What int8 costs a cross-encoder: a trained one's held-out candidates in fp32, int8 and stock int8.

    python benchmarks/rerank_quality.py tests/data/tiny-de-en-reranker BUNDLE --work build/rerank-quality

CHECKPOINT/heldout.json holds queries with 20 candidates each. Stock int8 is onnxruntime's dynamic quantisation of a
plain export, in padded batches of 32 sorted by length. The last column is the share of queries whose best candidate
is another one than in fp32. Prints a table and a line of JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jinabert_onnx import CrossEncoder
from jinabert_onnx.bench.machine import result_line
from jinabert_onnx.bundle.score_agreement import activate, rank_correlation
from jinabert_onnx.engine.batching import pad
from jinabert_onnx.text.pair_tokenizer import tokenize_pairs
from jinabert_onnx.text.tokenizer import Tokenizer
from numpy.typing import NDArray
from peers.plain import load, write
from peers.plain_cross_encoder import Logits, PlainCrossEncoder
from peers.worker import Ids

BATCH, THREADS = 32, 2
Pairs = list[tuple[str, str]]
Rows = NDArray[np.float32]  # logits (queries, candidates)


def stock_int8(checkpoint: Path, work: Path) -> Callable[[Ids, Ids], Logits]:
    """Make stock dynamic int8 of a plain export, and return what runs it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain, quantized = work / "plain.onnx", work / "plain_int8.onnx"
    work.mkdir(parents=True, exist_ok=True)
    write(PlainCrossEncoder.open(checkpoint), "logits", str(plain))
    quantize_dynamic(plain, quantized, weight_type=QuantType.QInt8, per_channel=True)
    return load(str(quantized), str(THREADS))[0]


def run_batches(logits: Callable[[Ids, Ids], Logits], tokenizer: Tokenizer, pairs: Pairs) -> Logits:
    """Run padded batches of pairs sorted by length: logits (pairs, 1)."""
    rows = [row.input_ids for row in tokenize_pairs(tokenizer, pairs, 8192)]
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    found = np.empty((len(rows), 1), dtype=np.float32)
    for start in range(0, len(rows), BATCH):
        chosen = order[start : start + BATCH]
        found[chosen] = logits(*pad([rows[index] for index in chosen]))
    return found


def figures(found: Rows, right: Rows, places: list[int | None]) -> dict[str, float]:
    """Compare logits (queries, candidates) with those of fp32; `places` are the right candidates."""
    scores, expected = (activate(logits, "sigmoid") for logits in (found, right))
    return {
        "mean_score_difference": float(np.abs(scores - expected).mean()),
        "max_score_difference": float(np.abs(scores - expected).max()),
        "rank_correlation": float(np.mean([rank_correlation(*rows) for rows in zip(found, right, strict=True)])),
        "first_changes": float(np.mean(found.argmax(axis=1) != right.argmax(axis=1))),
        "mrr10": float(np.mean([_reciprocal_rank(*row) for row in zip(found, places, strict=True)])),
    }


def _reciprocal_rank(logits: Rows, right: int | None) -> float:
    place = 11 if right is None else int((logits >= logits[right]).sum())
    return 1 / place if place <= 10 else 0.0


def main() -> None:
    """Measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="directory for the plain export")
    parser.add_argument("--queries", type=int, help="only so many (default: all)")
    arguments = parser.parse_args()
    held_out = json.loads((arguments.checkpoint / "heldout.json").read_text("utf-8"))
    queries, texts = held_out["queries"][: arguments.queries], held_out["texts"]
    pairs = [(query["query"], texts[candidate]) for query in queries for candidate in query["candidates"]]
    places = [query["right"] for query in queries]
    logits = {
        precision: CrossEncoder.load(arguments.bundle, precision=precision).logits(pairs)
        for precision in ("fp32", "fp16", "int8")
    }
    tokenizer = Tokenizer(arguments.bundle / "tokenizer.json")
    logits["stock int8"] = run_batches(stock_int8(arguments.checkpoint, arguments.work), tokenizer, pairs)
    rows = {name: values.reshape(len(queries), -1) for name, values in logits.items()}
    card = np.array([query["logits"] for query in queries])
    results = {name: figures(values, rows["fp32"], places) for name, values in rows.items()}
    print("| | mean difference of a score | largest | rank correlation | first of 20 changes | MRR@10 |")
    print("|---|---|---|---|---|---|")
    for name, row in results.items():
        print(
            f"| {name} | {row['mean_score_difference']:.5f} | {row['max_score_difference']:.4f} | "
            f"{row['rank_correlation']:.6f} | {row['first_changes']:.1%} | {row['mrr10']:.4f} |"
        )
    card_difference = float(np.abs(rows["fp32"] - card).max())
    print(f"fp32 against the card's logits, rounded to 4 digits: largest difference {card_difference:.1e}")
    print(f"the card's MRR@10: {held_out['figures']['all']['mrr10_after']}")
    print(result_line("rerank_quality", results | {"largest_difference_from_card": card_difference}))


if __name__ == "__main__":
    main()
