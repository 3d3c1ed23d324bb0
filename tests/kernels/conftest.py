"""The checkpoints of forms.py, each exported once, counts of native runs, and a compiler."""

from __future__ import annotations

import os
import shlex
import subprocess

import jinabert_onnx_kernels
import pytest
from forms import FORMS, Form, make_form
from support.native import NativeRuns
from support.paths import ROOT


@pytest.fixture(scope="session", params=FORMS)
def form(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Form:
    """Every form in turn."""
    name = str(request.param)
    return make_form(name, tmp_path_factory.mktemp(name))


@pytest.fixture
def native_runs() -> NativeRuns:
    """How often native attention has run since the test began."""
    return NativeRuns(jinabert_onnx_kernels.attention_runs)


@pytest.fixture
def layer_runs() -> NativeRuns:
    """How often native operators of layers have run since the test began, two for each layer."""
    return NativeRuns(jinabert_onnx_kernels.layer_runs)


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words that run the compiler with which the kernels are built."""
    tools = ROOT / "build" / "tools" / "bin" / "python"  # has pip, which this environment lacks, for ziglang
    program = (
        "import sys; from pathlib import Path; from build_wheel import compiler; print(compiler(Path(sys.argv[1]))[0])"
    )
    found = subprocess.run(
        [tools, "-c", program, tmp_path_factory.mktemp("compiler")],
        env=os.environ | {"PYTHONPATH": str(ROOT / "native")},
        capture_output=True,
        text=True,
        check=True,
    )
    return shlex.split(found.stdout)
