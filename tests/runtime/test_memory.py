"""Memory goes back after a long text: what a process holds, read from the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from jinabert_onnx.session import Session

def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))

def run(session, tokens):
    ids = np.random.default_rng(0).integers(500, size=(1, tokens))
    session.run(ids, np.ones_like(ids))

session = Session(Path(sys.argv[1]), sys.argv[2], "cpu", 2)
run(session, 16)
before = resident("VmRSS")
run(session, 8192)
print(before, resident("VmHWM"), resident("VmRSS"))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_memory_of_a_long_text_goes_back_after_it(trained: Path, precision: str) -> None:
    name = {"fp32": "model.onnx", "int8": "model_int8.onnx"}[precision]
    path = trained / "onnx" / name
    result = subprocess.run([sys.executable, "-c", SCRIPT, path, precision], capture_output=True, text=True, check=True)
    before, peak, after = map(int, result.stdout.split())
    assert peak > 1.3 * before  # or there was nothing to give back
    assert after < 1.3 * before
