"""What int8 costs in quality: the bundle's int8 beside other int8 forms, on texts that training never saw.

    python benchmarks/int8_quality.py BUNDLE [--checkpoint CHECKPOINT] [--most TEXTS]

BUNDLE holds fp32 and int8 of CHECKPOINT (default: the trained one in the tests). Each text runs alone. Every form
is compared with the bundle's fp32 vectors, by length: single sentences of both languages, and consecutive
sentences joined. The forms are those of `int8_forms`; the gap that counts is the one from `stock`, without
saturation, to `weights only`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from held_out import DATA
from int8_forms import make_forms
from jinabert_onnx.bundle.manifest import TOKENIZER, Bundle, open_bundle
from jinabert_onnx.encoding import pooling
from jinabert_onnx.encoding.pooling import Vectors
from jinabert_onnx.engine.batching import pad
from jinabert_onnx.engine.session import open_session
from jinabert_onnx.text.tokenizer import Tokenizer
from jinabert_onnx_eval.scores import cosines, fidelity
from jinabert_onnx_eval.texts.groups import runs
from numpy.typing import NDArray
from peers import plain
from peers.worker import Run
from timing import finish

Ids = NDArray[np.int64]
Figures = dict[str, float]
Shares = dict[str, float | None]

SENTENCES = 500
JOINED = {64: 300, 128: 200, 256: 100, 512: 60, 2048: 24}  # tokens of a text, at least: most texts
MIN_CLOSED = {"mean cosine": 0.9, "top-10 overlap": 0.8}
GAPS = (  # the first is the one that counts
    ("stock", "weights only"),
    ("stock", "weights only, float table"),
    ("stock, this CPU", "weights only"),
)
BATCHES = ("sentences", "64 tokens", "128 tokens", "256 tokens")  # groups that are mixed, a batch of eight


def read_groups(tokenizer: Tokenizer, most: int) -> dict[str, list[Ids]]:
    """Token ids of the held-out texts, by group, at most `most` of each."""
    content = json.loads((DATA / "heldout.json").read_text("utf-8"))
    english, german = ([pair[language] for pair in content["pairs"]] for language in ("en", "de"))
    others = [sentence["text"] for sentence in content["sentences"]]
    every = len(english) * 2 // SENTENCES  # both sides of pairs from every kind of source
    groups = {"sentences": english[::every] + german[::every]}
    for length, count in JOINED.items():
        made = [text for texts in (english, german, others) for text in join(tokenizer, texts, length)]
        groups[f"{length} tokens"] = [made[index] for index in spread(len(made), count)]
    return {name: tokenizer(texts[:most], 8192).input_ids for name, texts in groups.items()}


def join(tokenizer: Tokenizer, sentences: Sequence[str], length: int) -> Iterator[str]:
    """Consecutive sentences, together at least `length` tokens; what is left at the end is too short to count."""
    sizes = [len(ids) - tokenizer.special_tokens for ids in tokenizer(sentences, 8192).input_ids]
    return (" ".join(sentences[run]) for run in runs([sizes], length))


def spread(available: int, wanted: int) -> list[int]:
    """At most `wanted` indices, evenly over all."""
    count = min(available, wanted)
    return [index * available // count for index in range(count)]


def embed(run: Run, texts: Sequence[Ids], mode: str) -> Vectors:
    """Pooled vectors (texts, hidden) of texts that run together."""
    input_ids, attention_mask = pad(texts)
    return pooling.pool(run(input_ids, attention_mask), attention_mask, mode)


def alone(run: Run, texts: Sequence[Ids], mode: str) -> Vectors:
    """The same, one text at a time."""
    return np.concatenate([embed(run, [text], mode) for text in texts])


def compare(vectors: Vectors, reference: Vectors) -> Figures:
    """The columns of the table."""
    found = fidelity(vectors, reference)
    assert found.rank_correlation is not None  # groups are large enough
    return {
        "mean cosine": found.mean_cosine,
        "minimum": found.min_cosine,
        "rank correlation": found.rank_correlation,
        "top-10 overlap": found.top_overlap,
    }


def mixed(run: Run, groups: Mapping[str, Sequence[Ids]], mode: str) -> float:
    """Smallest cosine between a text's vector alone and in a batch of texts of all lengths."""
    columns = [groups[name][:8] for name in BATCHES]
    batches = [[column[index] for column in columns for index in pair] for pair in ((0, 1), (2, 3), (4, 5), (6, 7))]
    found = [cosines(embed(run, batch, mode), alone(run, batch, mode)).min() for batch in batches]
    return float(min(found))


def closed(figures: Mapping[str, Figures], worse: str, better: str) -> Shares:
    """The share of the gap between two forms that the bundle's int8 closes; None where there is no gap."""
    shares: Shares = {}
    for column in MIN_CLOSED:
        least, most = figures[worse][column], figures[better][column]
        shares[column] = (figures["bundle"][column] - least) / (most - least) if most > least else None
    return shares


def measure(runs: Mapping[str, Run], groups: Mapping[str, Sequence[Ids]], mode: str) -> dict[str, dict[str, Figures]]:
    """Per group and form the columns, as they are printed; the last group is the mean of the others."""
    results: dict[str, dict[str, Figures]] = {}
    for group, texts in groups.items():
        reference = alone(runs["fp32"], texts, mode)
        results[group] = {
            name: compare(alone(run, texts, mode), reference) for name, run in runs.items() if name != "fp32"
        }
        _print_group(f"{group}, {len(texts)} texts", results[group])
    results["all"] = {name: _mean([rows[name] for rows in results.values()]) for name in runs if name != "fp32"}
    _print_group("mean of the groups", results["all"])
    return results


def open_runs(bundle: Bundle, checkpoint: str, threads: int, directory: Path) -> dict[str, Run]:
    """Every form, ready to run, by name; `bundle` is the bundle's int8."""
    ours = {"fp32": "fp32", "bundle": "int8"}
    runs: dict[str, Run] = {
        name: open_session(bundle.path / bundle.files_of(precision)[0], precision, "cpu", threads).run
        for name, precision in ours.items()
    }
    return runs | {name: plain.load(path, threads)[0] for name, path in make_forms(checkpoint, directory).items()}


def main() -> None:
    """Measure, print tables and how they stand to what is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--checkpoint", default=str(DATA))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most", type=int, default=SENTENCES, help="texts of a group (default: %(default)s, all)")
    arguments = parser.parse_args()
    if arguments.most < 3:
        parser.error("--most must be 3 or more: ranks are compared of pairs of texts")
    bundle = open_bundle(arguments.bundle)
    mode = bundle.manifest.pooling.mode
    groups = read_groups(Tokenizer(bundle.path / TOKENIZER), arguments.most)
    with tempfile.TemporaryDirectory() as directory:
        runs = open_runs(bundle, arguments.checkpoint, arguments.threads, Path(directory))
        results = measure(runs, groups, mode)
        batches = {name: mixed(run, groups, mode) for name, run in runs.items()}
    shares = {f"{worse} to {better}": _print_shares(results, worse, better) for worse, better in GAPS}
    print("\nsmallest cosine between a text alone and in a mixed batch")
    for name, value in batches.items():
        print(f"  {name:<30}{value:.9f}")
    finish("int8_quality", {"groups": results, "share of the gap closed": shares, "alone and in a batch": batches})


def _mean(rows: Sequence[Figures]) -> Figures:
    return {column: float(np.mean([row[column] for row in rows])) for column in rows[0]}


def _print_group(title: str, rows: Mapping[str, Figures]) -> None:
    print(f"\n{title:<32}" + "".join(f"{column:>18}" for column in rows["bundle"]), flush=True)
    for name, row in rows.items():
        print(f"  {name:<30}" + "".join(f"{value:>18.6f}" for value in row.values()), flush=True)


def _print_shares(results: Mapping[str, Mapping[str, Figures]], worse: str, better: str) -> dict[str, Shares]:
    """Print and return the shares closed, by group."""
    wanted = ", ".join(f"{column} {share:.0%}" for column, share in MIN_CLOSED.items())
    print(f"\nshare of the gap from {worse} to {better} that the bundle's int8 closes (wanted: {wanted})")
    shares = {}
    for group, rows in results.items():
        shares[group] = closed(rows, worse, better)
        columns = "".join(f"{column} {_verdict(share, column):<19}" for column, share in shares[group].items())
        exceeds = all(value > rows[worse][column] for column, value in rows["bundle"].items())
        print(f"  {group:<14}{columns}better than {worse} in every column: {'yes' if exceeds else 'no'}")
    return shares


def _verdict(share: float | None, column: str) -> str:
    if share is None:
        return "no gap"
    return f"{share:.1%} ({'reached' if share >= MIN_CLOSED[column] else 'missed'})"


if __name__ == "__main__":
    main()
