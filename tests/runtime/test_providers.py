"""Execution providers are met or refused, never silently replaced."""

from __future__ import annotations

import onnxruntime
import pytest
from jinabert_onnx import Embedder, InputError, ProviderError
from jinabert_onnx.engine.cpu import available_threads
from jinabert_onnx.engine.providers import choose, reason_of
from support.paths import TRAINED

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def test_the_provider_that_runs_is_told() -> None:
    asked = Embedder.load(TRAINED, provider="cpu")
    assert (asked.provider, asked.provider_reason) == ("cpu", "as asked")
    assert Embedder.load(TRAINED, provider="auto", precision="int8").provider_reason == "int8 has no CUDA kernels"
    has_cuda = CUDA in onnxruntime.get_available_providers()
    assert has_cuda or Embedder.load(TRAINED, provider="auto").provider == "cpu"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_cuda_that_cannot_be_had_is_an_error_that_says_why(precision: str) -> None:
    assert CUDA not in onnxruntime.get_available_providers(), "this environment is for CPUs"
    with pytest.raises(ProviderError, match=r"no CUDA provider \(it has .*CPUExecutionProvider.*jinabert-onnx\[gpu\]"):
        Embedder.load(TRAINED, precision=precision, provider="cuda")


def test_int8_on_cuda_is_an_error_that_names_fp16() -> None:
    with pytest.raises(RuntimeError, match="use precision fp16 on cuda"):
        Embedder.load(TRAINED, precision="int8", provider="cuda")


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(InputError, match="provider 'tpu' is unknown; use one of auto, cpu, cuda"):
        Embedder.load(TRAINED, provider="tpu")


def test_threads_default_to_what_this_process_may_use_and_say_why(monkeypatch) -> None:
    model = Embedder.load(TRAINED)
    assert (model.threads, model.threads_reason) == (available_threads().threads, available_threads().reason)
    monkeypatch.setenv("JINABERT_ONNX_THREADS", "3")
    model = Embedder.load(TRAINED)
    assert model.threads == 3
    assert "JINABERT_ONNX_THREADS" in model.threads_reason


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_where_the_nodes_of_the_graph_are_is_told(precision: str) -> None:
    nodes = Embedder.load(TRAINED, precision=precision, provider="cpu").nodes
    assert nodes is None or (list(nodes) == ["cpu"] and nodes["cpu"] > 30)
    tells = hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info")
    assert (nodes is not None) == tells


def test_precision_auto_takes_one_that_the_bundle_holds_and_says_why() -> None:
    model = Embedder.load(TRAINED, precision="auto", provider="cpu")
    assert model.precision in ("fp32", "int8")
    assert "int8" in model.precision_reason
    assert Embedder.load(TRAINED, precision="int8").precision_reason == "as asked"


@pytest.mark.parametrize(
    ("requested", "precision", "available", "candidates", "actual", "reason"),
    [
        ("cpu", "fp32", [CUDA, CPU], ["cpu"], "cpu", "as asked"),
        ("cuda", "fp16", [CUDA, CPU], ["cuda"], "cuda", "as asked"),
        ("auto", "fp16", [CUDA, CPU], ["cuda", "cpu"], "cuda", "has CUDA, and it started"),
        ("auto", "int8", [CUDA, CPU], ["cpu"], "cpu", "int8 has no CUDA kernels"),
        ("auto", "fp32", [CPU], ["cpu"], "cpu", "has no CUDA provider"),
        ("auto", "fp32", [CUDA, CPU], ["cuda", "cpu"], "cpu", "could not be started"),
    ],
)
def test_candidates_are_tried_in_order_and_why_it_is_this_one_is_told(
    requested: str, precision: str, available: list, candidates: list, actual: str, reason: str
) -> None:
    assert choose(requested, precision, available) == candidates
    assert reason in reason_of(requested, precision, available, actual)


def test_precision_auto_logs_its_choice(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="jinabert_onnx")
    model = Embedder.load(TRAINED, precision="auto")
    assert (
        f"{model.precision} ({model.precision_reason}) on cpu ({model.provider_reason}), {model.threads} threads"
        in caplog.text
    )
