"""The precision that "auto" takes, and why, for every bundle on every kind of CPU and provider."""

from __future__ import annotations

from itertools import combinations

import pytest
from jinabert_onnx import InputError
from jinabert_onnx.bundle.manifest import PRECISIONS
from jinabert_onnx.engine.cpu import CpuFeatures, cpu_features
from jinabert_onnx.engine.precision import PrecisionChoice, choose_precision

pytestmark = pytest.mark.standard_library

FAST = CpuFeatures("x86_64", "avx512_vnni", "x86_64 with avx512_vnni")
SLOW = CpuFeatures("x86_64", None, "x86_64 without avx2")
HOLDINGS = [available for count in (1, 2, 3) for available in combinations(PRECISIONS, count)]


@pytest.mark.parametrize("features", [FAST, SLOW])
@pytest.mark.parametrize("provider", ["cpu", "cuda"])
@pytest.mark.parametrize("available", HOLDINGS)
@pytest.mark.parametrize("requested", PRECISIONS)
def test_a_precision_asked_for_is_taken_even_where_the_bundle_lacks_it(
    requested: str, available: tuple[str, ...], provider: str, features: CpuFeatures
) -> None:
    assert choose_precision(requested, available, provider, features) == PrecisionChoice(requested, "as asked")


NO_FP16 = PrecisionChoice("fp32", "the bundle holds no fp16")
NO_INT8 = PrecisionChoice("fp32", "the bundle holds no int8")
ON_CUDA = PrecisionChoice("fp16", "fp16 is fastest on cuda")
HALVES_ALONE = PrecisionChoice("fp16", "the bundle holds nothing else; fp16 is slow on a CPU")
INT8_ALONE = PrecisionChoice("int8", "the bundle holds nothing else; int8 runs on the CPU only")
FASTEST = PrecisionChoice("int8", "int8 is fastest on x86_64 with avx512_vnni")
NO_FP32 = PrecisionChoice("int8", "the bundle holds no fp32; int8 may gain nothing on x86_64 without avx2")
NO_GAIN = PrecisionChoice("fp32", "int8 may gain nothing on x86_64 without avx2")


@pytest.mark.parametrize(
    ("available", "on_cuda", "on_fast_cpu", "on_slow_cpu"),
    [
        ("fp32", NO_FP16, NO_INT8, NO_INT8),
        ("fp16", ON_CUDA, HALVES_ALONE, HALVES_ALONE),
        ("int8", INT8_ALONE, FASTEST, NO_FP32),
        ("fp32 fp16", ON_CUDA, NO_INT8, NO_INT8),
        ("fp32 int8", NO_FP16, FASTEST, NO_GAIN),
        ("fp16 int8", ON_CUDA, FASTEST, NO_FP32),
        ("fp32 fp16 int8", ON_CUDA, FASTEST, NO_GAIN),
    ],
)
def test_auto_takes_the_fastest_that_the_bundle_holds_and_says_why(
    available: str, on_cuda: PrecisionChoice, on_fast_cpu: PrecisionChoice, on_slow_cpu: PrecisionChoice
) -> None:
    assert choose_precision("auto", available.split(), "cuda", FAST) == on_cuda
    assert choose_precision("auto", available.split(), "cuda", SLOW) == on_cuda
    assert choose_precision("auto", available.split(), "cpu", FAST) == on_fast_cpu
    assert choose_precision("auto", available.split(), "cpu", SLOW) == on_slow_cpu


@pytest.mark.parametrize("available", HOLDINGS)
def test_auto_on_this_machine_takes_what_the_bundle_holds(available: tuple[str, ...]) -> None:
    assert choose_precision("auto", available, "cpu", cpu_features()).precision in available


@pytest.mark.parametrize("requested", ["", "AUTO", "fp8", "float32"])
@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_an_unknown_precision_is_refused_with_the_known_ones(requested: str, provider: str) -> None:
    with pytest.raises(InputError, match=f"^precision '{requested}' is unknown; use one of auto, fp32, fp16, int8$"):
        choose_precision(requested, PRECISIONS, provider, FAST)
