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


@pytest.mark.parametrize(
    ("available", "precision", "reason"),
    [
        ("fp32", "fp32", "the bundle holds no fp16"),
        ("fp16", "fp16", "fp16 is fastest on cuda"),
        ("int8", "int8", "the bundle holds nothing else; int8 runs on the CPU only"),
        ("fp32 fp16", "fp16", "fp16 is fastest on cuda"),
        ("fp32 int8", "fp32", "the bundle holds no fp16"),
        ("fp16 int8", "fp16", "fp16 is fastest on cuda"),
        ("fp32 fp16 int8", "fp16", "fp16 is fastest on cuda"),
    ],
)
@pytest.mark.parametrize("features", [FAST, SLOW])
def test_auto_on_cuda(available: str, precision: str, reason: str, features: CpuFeatures) -> None:
    assert choose_precision("auto", available.split(), "cuda", features) == PrecisionChoice(precision, reason)


@pytest.mark.parametrize(
    ("available", "precision", "reason"),
    [
        ("fp32", "fp32", "the bundle holds no int8"),
        ("fp16", "fp16", "the bundle holds nothing else; fp16 is slow on a CPU"),
        ("int8", "int8", "int8 is fastest on x86_64 with avx512_vnni"),
        ("fp32 fp16", "fp32", "the bundle holds no int8"),
        ("fp32 int8", "int8", "int8 is fastest on x86_64 with avx512_vnni"),
        ("fp16 int8", "int8", "int8 is fastest on x86_64 with avx512_vnni"),
        ("fp32 fp16 int8", "int8", "int8 is fastest on x86_64 with avx512_vnni"),
    ],
)
def test_auto_on_a_cpu_that_is_fast_at_int8(available: str, precision: str, reason: str) -> None:
    assert choose_precision("auto", available.split(), "cpu", FAST) == PrecisionChoice(precision, reason)


@pytest.mark.parametrize(
    ("available", "precision", "reason"),
    [
        ("fp32", "fp32", "the bundle holds no int8"),
        ("fp16", "fp16", "the bundle holds nothing else; fp16 is slow on a CPU"),
        ("int8", "int8", "the bundle holds no fp32; int8 may gain nothing on x86_64 without avx2"),
        ("fp32 fp16", "fp32", "the bundle holds no int8"),
        ("fp32 int8", "fp32", "int8 may gain nothing on x86_64 without avx2"),
        ("fp16 int8", "int8", "the bundle holds no fp32; int8 may gain nothing on x86_64 without avx2"),
        ("fp32 fp16 int8", "fp32", "int8 may gain nothing on x86_64 without avx2"),
    ],
)
def test_auto_on_a_cpu_that_is_not(available: str, precision: str, reason: str) -> None:
    assert choose_precision("auto", available.split(), "cpu", SLOW) == PrecisionChoice(precision, reason)


@pytest.mark.parametrize("available", HOLDINGS)
def test_auto_on_this_machine_takes_what_the_bundle_holds(available: tuple[str, ...]) -> None:
    assert choose_precision("auto", available, "cpu", cpu_features()).precision in available


@pytest.mark.parametrize("requested", ["", "AUTO", "fp8", "float32"])
@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_an_unknown_precision_is_refused_with_the_known_ones(requested: str, provider: str) -> None:
    with pytest.raises(InputError, match=f"^precision '{requested}' is unknown; use one of auto, fp32, fp16, int8$"):
        choose_precision(requested, PRECISIONS, provider, FAST)
