"""What each type of vector costs in quality, on texts that neither training nor calibration saw; and where int8 ends.

    python benchmarks/vector_types.py BUNDLE

BUNDLE is of the trained checkpoint in the tests, whose float32 vectors of held-out texts are compared with their
smaller types: raw and normalised, all channels, half and a quarter. Beside them is int8 by the smallest and largest
value of each channel among the calibration texts, compared as an index compares int8, and after decoding. Then other
limits of int8, fitted to the calibration texts as they are cut: shares of all values that are within, and multiples of
the largest value. Cosines are of all texts, rank correlation and top-10 overlap of single sentences.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from held_out import DATA
from int8_quality import Figures
from int8_quality import compare as compare_vectors
from jinabert_onnx import Embedder
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.encoding.pooling import Vectors, normalize
from jinabert_onnx.encoding.vector_types import OUTPUT_DTYPES, convert, limit_for, similarity
from jinabert_onnx_eval.scores import cosines
from jinabert_onnx_export.int8.calibration import read_calibration_texts
from numpy.typing import NDArray
from timing import finish

CUTS = (1, 2, 4)  # what the channels are divided by
SHARES = (0.99, 0.999, 0.9999)
HEADROOMS = (1.0, 1.1, 1.25, 1.5)
KINDS = {"raw": False, "normalized": True}


def held_out() -> dict[str, Vectors]:
    """The checkpoint's raw vectors of held-out texts, by group, (texts, hidden)."""
    with np.load(DATA / "heldout.npz") as arrays:
        return {name: arrays[name] for name in arrays}


def cut(vectors: Vectors, dimensions: int, normalized: bool) -> Vectors:
    """As `encode` makes them of raw vectors."""
    kept = vectors[:, :dimensions]
    return normalize(kept) if normalized else kept


def by_ranges(vectors: Vectors, calibration: Vectors) -> tuple[NDArray[np.int8], Vectors]:
    """Int8 by the range that each channel has in `calibration`, and what it decodes to."""
    low, high = calibration.min(axis=0), calibration.max(axis=0)  # (hidden,)
    steps: Vectors = np.clip(np.rint((vectors - low) / (high - low) * 255), 0, 255)
    return (steps - 128).astype(np.int8), steps / 255 * (high - low) + low


def values(converted: NDArray[Any], output_dtype: str) -> Vectors:
    """The numbers that a type stands for, but for a factor."""
    if output_dtype in ("binary", "ubinary"):
        flipped = np.uint8(0x80 if output_dtype == "binary" else 0)
        return np.unpackbits(converted.view(np.uint8) ^ flipped, axis=1).astype(np.float32) * 2 - 1
    return converted.astype(np.float32) - np.float32(128 if output_dtype == "uint8" else 0)


def compare(converted: Mapping[str, NDArray[Any]], exact: Mapping[str, Vectors], output_dtype: str) -> Figures:
    """The columns of the table, of each group's vectors in a type and in float32."""
    decoded = {name: values(vectors, output_dtype) for name, vectors in converted.items()}
    found = np.concatenate([cosines(decoded[name], exact[name]) for name in exact])
    nearest = similarity(converted["pairs_de"], converted["pairs_en"], output_dtype).argmax(axis=1)
    return compare_vectors(decoded["sentences"], exact["sentences"]) | {
        "mean cosine": float(found.mean()),
        "minimum": float(found.min()),
        "de-en top 1 %": round(100 * float((nearest == np.arange(len(nearest))).mean()), 1),
    }


def by_type(exact: Mapping[str, Vectors], calibration: Vectors, limit: float) -> dict[str, Figures]:
    """A row a type; `calibration` and `limit` are of vectors that were cut and normalised like `exact`."""
    rows = {
        name: compare({group: convert(vectors, name, limit) for group, vectors in exact.items()}, exact, name)
        for name in OUTPUT_DTYPES
    }
    ranged = {group: by_ranges(vectors, calibration) for group, vectors in exact.items()}
    rows["int8, a range each"] = compare({group: steps for group, (steps, _) in ranged.items()}, exact, "int8")
    rows["the same, decoded"] = compare({group: back for group, (_, back) in ranged.items()}, exact, "float32")
    return rows


def by_limit(exact: Mapping[str, Vectors], calibration: Vectors) -> dict[str, Figures]:
    """A row a limit of int8."""
    largest = np.abs(calibration)
    limits = {f"{share:.2%} of values": float(np.quantile(largest, share)) for share in SHARES}
    limits |= {f"{headroom:g} x largest": headroom * float(largest.max()) for headroom in HEADROOMS}
    rows = {}
    for name, limit in limits.items():
        converted = {group: convert(vectors, "int8", limit) for group, vectors in exact.items()}
        rows[f"{name}: {limit:.3f}"] = compare(converted, exact, "int8")
    return rows


def main() -> None:
    """Measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    arguments = parser.parse_args()
    limits = open_bundle(arguments.bundle).manifest.vector_limits
    vectors = held_out()
    calibration = Embedder.load(arguments.bundle).encode(read_calibration_texts(), max_length=8192)
    hidden = calibration.shape[1]
    types: dict[str, dict[str, Figures]] = {}
    fitted: dict[str, dict[str, Figures]] = {}
    for kind, normalized in KINDS.items():
        for dimensions in (hidden // divisor for divisor in CUTS):
            exact = {name: cut(rows, dimensions, normalized) for name, rows in vectors.items()}
            seen = cut(calibration, dimensions, normalized)
            limit = limit_for(limits, normalized, dimensions, hidden)
            title = f"{kind}, {dimensions} channels"
            types[title] = by_type(exact, seen, limit)
            _print(f"{title}, limit {limit:.3f}", types[title].items())
            fitted[title] = by_limit(exact, seen)
            _print("  limits of int8", fitted[title].items())
    finish("vector_types", {"limits": dict(limits), "types": types, "limits of int8": fitted})


def _print(title: str, rows: Iterable[tuple[str, Figures]]) -> None:
    for index, (name, row) in enumerate(rows):
        if index == 0:
            print(f"\n{title:<32}" + "".join(f"{column:>18}" for column in row))
        print(f"  {name:<30}" + "".join(f"{value:>18.6g}" for value in row.values()), flush=True)


if __name__ == "__main__":
    main()
