"""Which precision "auto" means here: by provider, by CPU, and by what the bundle holds.

Knows nothing of sessions; whether a bundle holds what was asked for by name is checked where it is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinabert_onnx.bundle.manifest import PRECISIONS
from jinabert_onnx.errors import InputError

from .cpu import CpuFeatures


@dataclass(frozen=True)
class PrecisionChoice:
    """A precision, and in words why it was taken."""

    precision: str
    reason: str


def choose_precision(asked: str, held: Sequence[str], provider: str, features: CpuFeatures) -> PrecisionChoice:
    """Choose the precision to run: `asked` itself, or for "auto" the fastest of those `held` (one at least).

    `provider` is where it will run, "cpu" or "cuda"; `features` are the CPU's.

    Raises:
        InputError: `asked` is no precision.
    """
    if asked == "auto":
        return _on_cuda(held) if provider == "cuda" else _on_cpu(held, features)
    if asked not in PRECISIONS:
        raise InputError(f"precision {asked!r} is unknown; use one of auto, {', '.join(PRECISIONS)}")
    return PrecisionChoice(asked, "as asked")


def _on_cuda(held: Sequence[str]) -> PrecisionChoice:
    if "fp16" in held:
        return PrecisionChoice("fp16", "fp16 is fastest on cuda")
    if "fp32" in held:
        return PrecisionChoice("fp32", "the bundle holds no fp16")
    return PrecisionChoice("int8", "the bundle holds nothing else; int8 runs on the CPU only")


def _on_cpu(held: Sequence[str], features: CpuFeatures) -> PrecisionChoice:
    if "int8" in held and features.int8:
        return PrecisionChoice("int8", f"int8 is fastest on {features.description}")
    if "fp32" in held:
        slow = f"int8 may gain nothing on {features.description}"
        return PrecisionChoice("fp32", slow if "int8" in held else "the bundle holds no int8")
    if "int8" in held:
        return PrecisionChoice("int8", f"the bundle holds no fp32; int8 may gain nothing on {features.description}")
    return PrecisionChoice("fp16", "the bundle holds nothing else; fp16 is slow on a CPU")
