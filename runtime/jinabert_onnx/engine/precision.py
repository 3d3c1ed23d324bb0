"""The precision that "auto" means here: by provider, by CPU, and by what the bundle holds.

Knows nothing of sessions; whether a bundle holds a precision that is named is checked where it is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinabert_onnx.bundle.manifest import PRECISIONS
from jinabert_onnx.errors import InputError

from .cpu import CpuFeatures


@dataclass(frozen=True)
class PrecisionChoice:
    """A precision, and in words why it was chosen."""

    precision: str
    reason: str


def choose_precision(requested: str, available: Sequence[str], provider: str, features: CpuFeatures) -> PrecisionChoice:
    """Choose the precision to run: `requested` itself, or for "auto" the fastest of those `available` (at least one).

    `provider` is where it will run, "cpu" or "cuda"; `features` are the CPU's.

    Raises:
        InputError: `requested` is neither "auto" nor a precision.
    """
    if requested == "auto":
        return _on_cuda(available) if provider == "cuda" else _on_cpu(available, features)
    if requested not in PRECISIONS:
        raise InputError(f"precision {requested!r} is unknown; use one of auto, {', '.join(PRECISIONS)}")
    return PrecisionChoice(requested, "as asked")


def _on_cuda(available: Sequence[str]) -> PrecisionChoice:
    if "fp16" in available:
        return PrecisionChoice("fp16", "fp16 is fastest on cuda")
    if "fp32" in available:
        return PrecisionChoice("fp32", "the bundle holds no fp16")
    return PrecisionChoice("int8", "the bundle holds nothing else; int8 runs on the CPU only")


def _on_cpu(available: Sequence[str], features: CpuFeatures) -> PrecisionChoice:
    if "int8" in available and features.int8:
        return PrecisionChoice("int8", f"int8 is fastest on {features.description}")
    if "fp32" in available:
        slow = f"int8 may gain nothing on {features.description}"
        return PrecisionChoice("fp32", slow if "int8" in available else "the bundle holds no int8")
    if "int8" in available:
        return PrecisionChoice("int8", f"the bundle holds no fp32; int8 may gain nothing on {features.description}")
    return PrecisionChoice("fp16", "the bundle holds nothing else; fp16 is slow on a CPU")
