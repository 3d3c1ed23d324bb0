"""What int8 costs in quality: the bundle's int8 beside other int8 forms, on texts that training never saw.

    python benchmarks/experiments/int8_quality.py BUNDLE [--checkpoint CHECKPOINT] [--texts FILE] [--most TEXTS]

BUNDLE holds fp32 and int8 of CHECKPOINT (default: the trained one in the tests). Each text runs alone. Every form is
compared with the bundle's fp32 vectors, by length: sentences of both languages, and consecutive ones joined. The forms:

- `bundle`: the bundle's int8.
- `stock`: onnxruntime's dynamic quantisation, weights s8 per output channel, activations u8 with one scale a tensor,
  as a processor computes it whose products do not saturate.
- `stock, this CPU`: the same file as it comes. The two differ where AVX2 without VNNI saturates.
- `weights only`: float arithmetic with rounded weights and embedding table; what they cost whatever the activations
  are. In `weights only, float table` the table is as it was.

The gap that counts is the one from `stock` to `weights only`.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from jinabert_onnx.bench.machine import result_line
from jinabert_onnx.bundle.manifest import TOKENIZER, Bundle, open_bundle
from jinabert_onnx.encoding import pooling
from jinabert_onnx.encoding.pooling import Vectors
from jinabert_onnx.engine.batching import pad
from jinabert_onnx.engine.session import open_session
from jinabert_onnx.text.tokenizer import Tokenizer
from jinabert_onnx_eval.baselines.plain import write_plain
from jinabert_onnx_eval.baselines.plain_model import open_encoder
from jinabert_onnx_eval.baselines.stock_forms import (
    change_weights,
    save_again,
    write_stock_int8,
    write_stock_without_saturation,
)
from jinabert_onnx_eval.scores import cosines, fidelity
from jinabert_onnx_eval.texts.groups import LONG, group_by_length
from jinabert_onnx_eval.texts.read import read_texts
from numpy.typing import NDArray

DATA = Path(__file__).resolve().parents[2] / "tests" / "data" / "tiny-de-en"
MOST = 500
COLUMNS = {
    "mean_cosine": "mean cosine",
    "min_cosine": "minimum",
    "rank_correlation": "rank correlation",
    "top_overlap": "top-10 overlap",
}
GAPS = (  # the first is the one that counts
    ("stock", "weights only"),
    ("stock", "weights only, float table"),
    ("stock, this CPU", "weights only"),
)

Ids = NDArray[np.int64]
Run = Callable[[Ids, Ids], Vectors]  # ids and mask (batch, sequence) to embeddings (batch, sequence, hidden)
Figures = dict[str, float]


def read_groups(bundle: Bundle, file: Path, most: int) -> dict[str, list[Ids]]:
    """Return token ids of the file's texts by length, at most `most` of each, evenly from all."""
    tokenizer = Tokenizer(bundle.path / TOKENIZER)

    def ids_of(texts: Sequence[str]) -> list[Ids]:
        return tokenizer(texts, bundle.manifest.model.max_tokens).input_ids

    groups = group_by_length(read_texts(file), lambda texts: [*map(len, ids_of(texts))], 2048)
    texts = {group.name: group.texts for group in groups if group.name != LONG}
    return {name: ids_of(found[:: -(-len(found) // most)]) for name, found in texts.items()}


def open_runs(bundle: Bundle, checkpoint: str, threads: int, directory: Path) -> dict[str, Run]:
    """Return every form, ready to run, by name; `fp32` is what the others are compared with."""
    plain = directory / "plain.onnx"
    write_plain(*open_encoder(checkpoint), plain)
    runs: dict[str, Run] = {
        name: open_session(bundle.path / bundle.files_of(precision)[0], precision, "cpu", threads).run
        for name, precision in (("fp32", "fp32"), ("bundle", "int8"))
    }
    for number, (name, write) in enumerate(FORMS.items()):
        file = directory / f"{number}.onnx"
        write(plain, file)
        runs[name] = open_stock(file, threads)
    return runs


def open_stock(file: Path, threads: int) -> Run:
    """Open a file in onnxruntime as it comes: every option at its default but the threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session: Any = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


def write_weights_only(source: Path, target: Path, *, table: bool = True) -> None:
    """Round every constant MatMul weight per output channel, and the embedding table per row; all stays float."""
    model = onnx.load_model(source)
    axes = {"MatMul": (1, 0)} | ({"Gather": (0, 1)} if table else {})  # which input, and the axis that shares a scale
    nodes = [(node, *axes[node.op_type]) for node in model.graph.node if node.op_type in axes]
    change_weights(model, {node.input[place]: partial(rounded, axis=axis) for node, place, axis in nodes})
    save_again(model, target)


def rounded(weight: NDArray[np.generic], axis: int) -> NDArray[np.generic]:
    """Round symmetrically to s8 and back: multiples of the largest absolute value along `axis`, divided by 127."""
    if weight.ndim != 2:
        return weight
    values = weight.astype(np.float32)
    scale = np.abs(values).max(axis=axis, keepdims=True) / 127
    scale[scale == 0] = 1
    result: NDArray[np.float32] = np.rint(values / scale) * scale
    return result


FORMS: Mapping[str, Callable[[Path, Path], None]] = {
    "stock": write_stock_without_saturation,
    "stock, this CPU": write_stock_int8,
    "weights only": write_weights_only,
    "weights only, float table": partial(write_weights_only, table=False),
}


def embed(run: Run, texts: Sequence[Ids], mode: str) -> Vectors:
    """Return pooled vectors (texts, hidden) of texts that run together."""
    input_ids, attention_mask = pad(texts)
    return pooling.pool(run(input_ids, attention_mask), attention_mask, mode)


def alone(run: Run, texts: Sequence[Ids], mode: str) -> Vectors:
    """Return the same, one text at a time."""
    return np.concatenate([embed(run, [text], mode) for text in texts])


def compare(runs: Mapping[str, Run], texts: Sequence[Ids], mode: str) -> dict[str, Figures]:
    """Return the columns of every form beside fp32."""
    reference = alone(runs["fp32"], texts, mode)
    found = {name: fidelity(alone(run, texts, mode), reference) for name, run in runs.items() if name != "fp32"}
    return {name: {told: getattr(row, field) for field, told in COLUMNS.items()} for name, row in found.items()}


def closed(rows: Mapping[str, Figures], worse: str, better: str) -> Figures:
    """Return the share of the gap between two forms that the bundle's int8 closes, where there is a gap."""
    gaps = {column: rows[better][column] - rows[worse][column] for column in ("mean cosine", "top-10 overlap")}
    return {column: (rows["bundle"][column] - rows[worse][column]) / gap for column, gap in gaps.items() if gap > 0}


def mixed(run: Run, groups: Mapping[str, Sequence[Ids]], mode: str) -> float:
    """Return the smallest cosine between a text's vector alone and in a batch of texts of all lengths."""
    columns = [texts[:8] for texts in groups.values() if len(texts[0]) < 512]
    batches = [[column[index] for column in columns for index in pair] for pair in ((0, 1), (2, 3), (4, 5), (6, 7))]
    return min(float(cosines(embed(run, batch, mode), alone(run, batch, mode)).min()) for batch in batches)


def main() -> None:
    """Measure, and print a table a group."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--checkpoint", default=str(DATA))
    parser.add_argument("--texts", type=Path, default=DATA / "heldout.json", help="as for `jinabert-onnx eval`")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most", type=int, default=MOST, help="texts of a group, 8 or more (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.most < 8:
        parser.error("--most must be 8 or more, for batches of texts of all lengths")
    bundle = open_bundle(arguments.bundle)
    mode, groups = bundle.manifest.pooling.mode, read_groups(bundle, arguments.texts, arguments.most)
    results: dict[str, dict[str, Figures]] = {}
    with tempfile.TemporaryDirectory() as directory:
        runs = open_runs(bundle, arguments.checkpoint, arguments.threads, Path(directory))
        for name, texts in groups.items():
            results[f"{name}, {len(texts)} texts"] = rows = compare(runs, texts, mode)
            print_rows(f"{name}, {len(texts)} texts", rows)
        batches = {name: mixed(run, groups, mode) for name, run in runs.items()}
    mean = {
        name: {column: float(np.mean([rows[name][column] for rows in results.values()])) for column in COLUMNS.values()}
        for name in rows
    }
    results["mean of the groups"] = mean
    print_rows("mean of the groups", mean)
    shares = {
        f"{worse} to {better}": {name: closed(rows, worse, better) for name, rows in results.items()}
        for worse, better in GAPS
    }
    for gap, found in shares.items():
        print_rows(f"share closed of the gap, {gap}", found)
    print_rows("alone and in a batch", {name: {"smallest cosine": value} for name, value in batches.items()})
    print(result_line("int8_quality", {"groups": results, "share closed": shares, "alone and in a batch": batches}))


def print_rows(title: str, rows: Mapping[str, Figures]) -> None:
    """Print a table, a row a line."""
    print(f"\n{title}")
    for name, row in rows.items():
        print(f"  {name:<30}" + "  ".join(f"{column} {value:.9g}" for column, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
