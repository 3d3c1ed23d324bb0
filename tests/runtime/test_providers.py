"""Execution providers are met or refused, never silently replaced."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
from jinabert_onnx import Embedder, InputError, ProviderError
from jinabert_onnx.providers import choose, default_threads

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def test_the_provider_that_runs_is_told(trained: Path) -> None:
    assert Embedder.load(trained, provider="cpu").provider == "cpu"
    has_cuda = CUDA in onnxruntime.get_available_providers()
    assert has_cuda or Embedder.load(trained, provider="auto").provider == "cpu"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_cuda_that_cannot_be_had_is_an_error_that_says_why(trained: Path, precision: str) -> None:
    assert CUDA not in onnxruntime.get_available_providers(), "this environment is for CPUs"
    with pytest.raises(ProviderError, match=r"no CUDA provider \(it has .*CPUExecutionProvider.*jinabert-onnx\[gpu\]"):
        Embedder.load(trained, precision=precision, provider="cuda")


def test_int8_on_cuda_is_an_error_that_names_fp16(trained: Path) -> None:
    with pytest.raises(RuntimeError, match="use precision fp16 on cuda"):
        Embedder.load(trained, precision="int8", provider="cuda")


def test_an_unknown_provider_is_refused(trained: Path) -> None:
    with pytest.raises(InputError, match="provider 'tpu' is unknown; use one of auto, cpu, cuda"):
        Embedder.load(trained, provider="tpu")


@pytest.mark.parametrize(
    ("provider", "precision", "available", "expected"),
    [
        ("auto", "fp32", [CUDA, CPU], ["cuda", "cpu"]),
        ("auto", "fp16", [CUDA, CPU], ["cuda", "cpu"]),
        ("auto", "int8", [CUDA, CPU], ["cpu"]),
        ("auto", "fp32", [CPU], ["cpu"]),
        ("cuda", "fp16", [CUDA, CPU], ["cuda"]),
        ("cpu", "fp32", [CUDA, CPU], ["cpu"]),
    ],
)
def test_candidates_are_tried_in_order(provider: str, precision: str, available: list, expected: list) -> None:
    assert choose(provider, precision, available) == expected


def test_threads_default_to_the_cpus_of_this_process(trained: Path) -> None:
    assert Embedder.load(trained).threads == default_threads() >= 1
