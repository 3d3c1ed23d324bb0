"""Exports and evaluations do without onnxruntime's telemetry, as the runtime does."""

from __future__ import annotations

import os
import sys

import pytest
from support.python import run_python

CALLED = """
import os, sys
called = []

def note(frame, event, function):
    if event == "c_call" and "telemetry" in function.__name__:
        called.append(function.__name__)

sys.setprofile(note)
from jinabert_onnx_export import export
sys.setprofile(None)
print(os.environ["ORT_DISABLE_TELEMETRY"], *sorted(set(called)))
"""


def run(script: str) -> str:
    """What the script prints in a process that was told nothing of telemetry."""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = run_python("-W", "ignore::DeprecationWarning", "-c", script, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_export_switches_telemetry_off_by_variable_and_by_call() -> None:
    assert run(CALLED).split() == ["1", "disable_telemetry_events"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in Linux's /proc")
def test_telemetry_starts_no_thread() -> None:
    script = "import os, jinabert_onnx_export.pipeline; print(len(os.listdir('/proc/self/task')))"
    quiet = "import os; os.environ['ORT_DISABLE_TELEMETRY'] = '1'; import onnxruntime;"
    assert run(script) == run(quiet + script) != ""
