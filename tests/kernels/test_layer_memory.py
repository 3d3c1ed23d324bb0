"""What packed weights take goes back when a model is closed, and loading again and again takes no more.

Each case is a process of its own, whose memory the system tells.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jinabert_onnx_kernels
import pytest
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.engine.memory_model import memory_model
from support.paths import TRAINED
from support.python import run_python

pytestmark = [
    pytest.mark.skipif(
        jinabert_onnx_kernels.layer_instructions(64) is None, reason="this processor has no native layers"
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc"),
]

PACKED = 4 * (4 * 256 * 256 + 3 * 256 * 512)  # bytes of a model's packed weights
BEGINNING = """
import sys
from pathlib import Path
from jinabert_onnx import Embedder

def resident(field="VmRSS:"):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

def load():
    model = Embedder.load(sys.argv[1], precision="int8", threads=2, kernels=sys.argv[2])
    assert model.kernels.native_layers == (sys.argv[2] == "require")
    return model
"""
LOOP = """
for turn in range(1, 21):
    with load() as model:
        model.encode("the house at the river")
    if turn in (5, 20):
        print(resident())
"""
BESIDE_ANOTHER = (
    """
kept = load()
expected = kept.encode("the house at the river")
"""
    + LOOP
    + """
assert (kept.encode("the house at the river") == expected).all()
"""
)
TOGETHER = """
load().close()
before = resident()
models = [load() for _ in range(6)]
print(resident() - before)
for model in models:
    model.close()
print(resident() - before)
"""
PEAK = """
import numpy as np
model = load()
print(resident())
IDS
model.loaded.session.run(ids, np.ones_like(ids))
print(resident("VmHWM:"))
"""


def numbers(script: str, kernels: str = "require", bundle: Path = TRAINED) -> list[int]:
    """Run a script in a process of its own; return the numbers that it printed."""
    result = run_python("-c", BEGINNING + script, bundle, kernels)
    assert result.returncode == 0, result.stderr
    return [int(word) for word in result.stdout.split()]


@pytest.mark.parametrize("script", [LOOP, BESIDE_ANOTHER], ids=["alone", "beside another"])
def test_loading_and_closing_twenty_times_takes_no_more_than_five_times(script: str) -> None:
    early, late = numbers(script)
    assert late - early < 6 * PACKED  # fifteen, if they stayed; the rest is what the C library keeps


def test_closing_models_gives_the_memory_of_their_packed_weights_back() -> None:
    """The C library keeps some of the rest, without kernels as with them."""
    held, left = numbers(TOGETHER)
    _, left_without = numbers(TOGETHER, "off")
    assert held > 6 * PACKED
    assert left < left_without + 3 * PACKED


@pytest.mark.parametrize(
    ("rows", "length"), [(1, 16), (1, 512), (1, 2048), (1, 8192), (8, 128), (4, 512), (32, 512), (8, 2048)]
)
def test_the_model_of_memory_is_within_a_tenth_of_what_a_process_takes(rows: int, length: int) -> None:
    ids = f"ids = np.random.default_rng(0).integers(5, 500, ({rows}, {length}))"
    loaded, peak = numbers(PEAK.replace("IDS", ids))
    modelled = memory_model(open_bundle(TRAINED).manifest, "int8", native=True, native_layers=True)
    assert 0.9 * loaded < modelled.resident() < 1.1 * loaded
    assert 0.9 * peak < modelled.peak([length] * rows) < 1.1 * peak
