"""Where things lie in the repository. The bundles are exported beforehand (`make build/bundles/ready` does it)."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
GOLDENS = DATA / "goldens"  # small checkpoints of every form, with what the original implementation computes
CHECKPOINT = DATA / "tiny-de-en"  # the trained German/English checkpoint
BUNDLES = ROOT / "build" / "bundles"  # one of each checkpoint, under its name, in all precisions
TRAINED = BUNDLES / CHECKPOINT.name
