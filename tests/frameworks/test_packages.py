"""Without a framework its class says what to install; the runtime itself asks for none."""

from __future__ import annotations

import pytest
from support.python import run_python

EXTRAS = {"langchain": ("langchain_core", "langchain"), "llama_index": ("llama_index", "llama-index"),
          "chroma": ("chromadb", "chroma"), "haystack": ("haystack", "haystack")}  # fmt: skip


@pytest.mark.parametrize("module", EXTRAS)
def test_a_missing_package_is_named_with_the_command(module: str):
    package, extra = EXTRAS[module]
    script = f"import sys; sys.modules[{package!r}] = None; import jinabert_onnx.integrations.{module}"
    run = run_python("-c", script)
    last = run.stderr.splitlines()[-1]
    assert last.startswith("jinabert_onnx.errors.MissingDependencyError: ")
    assert package in last
    assert f"pip install 'jinabert-onnx[cpu,{extra}]'" in last


def test_the_runtime_imports_no_framework():
    shared = "jinabert_onnx.integrations.encoder, jinabert_onnx.integrations.reranker"
    script = f"import sys, {shared}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = run_python("-c", script)
    assert run.returncode == 0, run.stderr
    assert not set(run.stdout.split()) & {package for package, _ in EXTRAS.values()}
