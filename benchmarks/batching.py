"""How many padded tokens to run together: texts a second over a mixed load, by token budget.

    python benchmarks/batching.py BUNDLE [--precision int8]

100 texts of 8 to 512 tokens, most of them short; batches of at most 32 texts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.engine.batching import pad, plan_batches
from jinabert_onnx.engine.session import Session, open_session
from timing import finish, interleaved

BUDGETS = (128, 256, 512, 1024, 2048, 4096, 8192)


def workload(vocabulary: int, count: int = 100) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Random token ids; lengths are spread evenly over their logarithm."""
    generator = np.random.default_rng(0)
    lengths = np.exp(generator.uniform(np.log(8), np.log(512), size=count)).astype(int)
    return [generator.integers(vocabulary, size=length) for length in lengths]


def runner(
    session: Session, texts: list[np.ndarray[tuple[int], np.dtype[np.int64]]], budget: int
) -> Callable[[], None]:
    """A pass over all texts."""
    batches = [pad([texts[index] for index in batch]) for batch in plan_batches([*map(len, texts)], 32, budget)]

    def run() -> None:
        for input_ids, attention_mask in batches:
            session.run(input_ids, attention_mask)

    return run


def main() -> None:
    """Measure and print one line a budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    session = open_session(
        bundle.path / bundle.files_of(arguments.precision)[0], arguments.precision, "cpu", arguments.threads
    )
    texts = workload(bundle.manifest.model.vocab_size)
    times = interleaved({str(budget): runner(session, texts, budget) for budget in BUDGETS}, arguments.repeats)
    results = {budget: round(len(texts) / milliseconds * 1000, 2) for budget, milliseconds in times.items()}
    for budget, rate in results.items():
        print(f"{budget:>8} tokens a batch  {rate:8.2f} texts/s")
    finish("batching", {"precision": arguments.precision, "threads": arguments.threads, "texts_per_second": results})


if __name__ == "__main__":
    main()
