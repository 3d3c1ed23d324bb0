"""Where things lie in the repository. The bundles are exported beforehand (`make build/bundles/ready` does it)."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
GOLDENS = DATA / "goldens"  # small checkpoints of every form, with what the original implementation computes
DENSE_GOLDEN = GOLDENS / "dense-tanh-4h"  # of sentence-transformers, with a Dense module; it has a README.md
ENCODER_GOLDENS = sorted(path for path in GOLDENS.iterdir() if path != DENSE_GOLDEN)
CHECKPOINT = DATA / "tiny-de-en"  # the trained German/English checkpoint
CROSS_ENCODERS = sorted((DATA / "cross-encoders").iterdir())  # small rerankers and a classifier; each has a README.md
RERANKER = DATA / "tiny-de-en-reranker"  # trained, for arithmetic alone: it orders badly
BUNDLES = ROOT / "build" / "bundles"  # one of each checkpoint, under its name, in all precisions
TRAINED = BUNDLES / CHECKPOINT.name
TRAINED_RERANKER = BUNDLES / RERANKER.name
