"""The script that makes random checkpoints for the benchmarks."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

from jinabert_onnx_export.checkpoint.read import open_checkpoint

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "make_checkpoint.py"


def make(output: Path, variant: str = "plain", seed: int = 0) -> bytes:
    """Write a checkpoint as the script does, in this process; return its weights."""
    runpy.run_path(str(SCRIPT))["write_checkpoint"](output, "small", 30528, variant, seed)
    return (output / "model.safetensors").read_bytes()


def test_a_seed_gives_one_checkpoint_that_can_be_opened(tmp_path: Path) -> None:
    arguments = ("--size", "small", "--vocabulary", "30528")
    subprocess.run([sys.executable, SCRIPT, tmp_path / "first", *arguments], check=True)
    first = (tmp_path / "first" / "model.safetensors").read_bytes()
    assert make(tmp_path / "again") == first
    assert make(tmp_path / "other", seed=1) != first
    encoder = open_checkpoint(tmp_path / "first").load_encoder()
    # The published small model, and what the export ignores or needs only a row of: pooler and second token type.
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 32_690_688 - 512 * 513
    scaled, plain = encoder.encoder.layer[0].attention.self.query, encoder.encoder.layer[0].attention.self.value
    assert 1.7 < float(scaled.weight.std() / plain.weight.std()) < 1.9


def test_the_other_variant_can_be_made(tmp_path: Path) -> None:
    make(tmp_path / "code", "qk-post-norm")
    assert open_checkpoint(tmp_path / "code").variant == "qk-post-norm"
