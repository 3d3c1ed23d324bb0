"""The trained checkpoint's bundle on texts that its training never saw: difference from the original, retrieval.

python benchmarks/held_out.py build/bundles/tiny-de-en [--precision fp32 fp16 int8]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from jinabert_onnx import Embedder
from jinabert_onnx_eval.scores import Vectors, hit_rate, ranks_of, similarities
from timing import finish

DATA = Path(__file__).resolve().parent.parent / "tests" / "data" / "tiny-de-en"


def measure(model: Embedder) -> dict[str, float]:
    """Figures over 1,000 pairs of English and German texts of one meaning."""
    pairs = json.loads((DATA / "heldout.json").read_text("utf-8"))["pairs"]
    reference = np.load(DATA / "heldout.npz")
    english, german = (model.encode([pair[language] for pair in pairs]) for language in ("en", "de"))
    difference = max(np.abs(english - reference["pairs_en"]).max(), np.abs(german - reference["pairs_de"]).max())
    return {
        "largest difference": float(difference),
        **_percentages("de-en", german, english),
        **_percentages("en-de", english, german),
    }


def _percentages(name: str, queries: Vectors, documents: Vectors) -> dict[str, float]:
    """Queries whose own document is first, and among the ten most similar."""
    ranks = ranks_of(similarities(queries, documents), np.eye(len(queries), dtype=bool))
    return {f"{name} top {top} %": round(100 * hit_rate(ranks, top), 1) for top in (1, 10)}


def main() -> None:
    """Measure and print one line a precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", nargs="+", default=["fp32", "fp16", "int8"])
    arguments = parser.parse_args()
    results = {name: measure(Embedder.load(arguments.bundle, precision=name)) for name in arguments.precision}
    for name, row in results.items():
        print(f"{name:<6}" + "".join(f"  {label} {value:.3g}" for label, value in row.items()))
    finish("held_out", results)


if __name__ == "__main__":
    main()
