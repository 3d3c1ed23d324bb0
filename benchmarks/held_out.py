"""The trained checkpoint's bundle on texts that its training never saw: difference from the original, retrieval.

python benchmarks/held_out.py build/bundles/tiny-de-en [--precision fp32 fp16 int8]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from jinabert_onnx import Embedder
from numpy.typing import NDArray
from timing import finish

DATA = Path(__file__).resolve().parent.parent / "tests" / "data" / "tiny-de-en"


def hits(queries: NDArray[np.float32], documents: NDArray[np.float32], top: int) -> float:
    """Percentage of queries whose own document is among the `top` most similar."""
    order = np.argsort(-Embedder.similarity(queries, documents), axis=1)[:, :top]
    return round(100 * float((order == np.arange(len(queries))[:, None]).any(axis=1).mean()), 1)


def measure(model: Embedder) -> dict[str, float]:
    """Figures over 1,000 pairs of English and German texts of one meaning."""
    pairs = json.loads((DATA / "heldout.json").read_text("utf-8"))["pairs"]
    reference = np.load(DATA / "heldout.npz")
    english, german = (model.encode([pair[language] for pair in pairs]) for language in ("en", "de"))
    difference = max(np.abs(english - reference["pairs_en"]).max(), np.abs(german - reference["pairs_de"]).max())
    return {
        "largest difference": float(difference),
        "de-en top 1 %": hits(german, english, 1),
        "de-en top 10 %": hits(german, english, 10),
        "en-de top 1 %": hits(english, german, 1),
        "en-de top 10 %": hits(english, german, 10),
    }


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
