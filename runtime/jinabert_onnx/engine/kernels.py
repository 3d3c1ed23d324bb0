"""Native kernels in place of a graph's own operators, where `jinabert-onnx-kernels` is installed and fits.

Says what will run and why, before a session is made. Knows nothing of bundles, and does not open onnxruntime.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from jinabert_onnx.errors import InputError, KernelsError, first_line

KERNELS = ("auto", "off", "require")
KERNELS_VARIABLE = "JINABERT_ONNX_KERNELS"
PORTABLE = "portable"
_MODULE = "jinabert_onnx_kernels"

logger = logging.getLogger("jinabert_onnx")


@dataclass(frozen=True)
class KernelRequest:
    """Which kernels are asked for, and what they must fit.

    Attributes:
        asked: one of `KERNELS`.
        head_size: channels of a head.
        domain_version: version of the graph's `jinabert` operators; None if it has none.
    """

    asked: str
    head_size: int
    domain_version: int | None


@dataclass(frozen=True)
class Kernels:
    """What computes attention.

    Attributes:
        attention: the instruction set of the native kernel, such as "avx512"; "portable" if the graph's own operators
            run.
        reason: why, in words.
        library: the file that onnxruntime registers; None if there is nothing to register.
        bfloat16: whether it may multiply in bfloat16.
    """

    attention: str
    reason: str
    library: Path | None = None
    bfloat16: bool = False

    @property
    def native(self) -> bool:
        """Return whether a native kernel computes attention."""
        return self.library is not None


NO_KERNELS = Kernels(PORTABLE, "not asked for")


def require_kernels_option(asked: str) -> str:
    """Return what is asked for or, if that is "auto", what the variable `JINABERT_ONNX_KERNELS` says.

    Raises:
        InputError: either is not one of `KERNELS`.
    """
    if asked not in KERNELS:
        raise InputError(f"kernels {asked!r} is unknown; use one of {', '.join(KERNELS)}", argument="kernels")
    configured = os.environ.get(KERNELS_VARIABLE, "").strip() or "auto"
    if configured not in KERNELS:
        raise InputError(f"{KERNELS_VARIABLE} is {configured!r}; set it to one of {', '.join(KERNELS)}, or unset it")
    return configured if asked == "auto" else asked


def choose_kernels(request: KernelRequest, provider: str, precision: str) -> Kernels:
    """Choose what computes attention on `provider`, "cpu" or "cuda", in this precision.

    A library that is installed and cannot be used is warned of; that there is none for this case is information.

    Raises:
        KernelsError: kernels are required, and there are none.
    """
    if request.asked == "off":
        return Kernels(PORTABLE, "switched off")
    kernels = _outside(request, provider, precision) or _installed(request, precision)
    if request.asked == "require" and not kernels.native:
        raise KernelsError(f"kernels are required, and none can run: {kernels.reason}; fix that, or use kernels 'auto'")
    return kernels


def refused(request: KernelRequest, kernels: Kernels, error: BaseException) -> Kernels:
    """Return what runs after onnxruntime has refused the library or the graph with it; warn of it.

    Raises:
        KernelsError: kernels are required.
    """
    reason = f"onnxruntime refuses {kernels.library} ({first_line(error)})"
    if request.asked == "require":
        raise KernelsError(f"kernels are required, and {reason}; install a release that fits") from error
    return _unusable(reason)


def _outside(request: KernelRequest, provider: str, precision: str) -> Kernels | None:
    """Return why no library could help here, if that is so."""
    if provider != "cpu":
        return Kernels(PORTABLE, f"kernels are for the CPU, and this runs on {provider}")
    if precision == "fp16":
        return Kernels(PORTABLE, "there are none for fp16")
    if request.domain_version is None:
        return Kernels(PORTABLE, "the graph has none of the operators that kernels compute")
    return None


def _installed(request: KernelRequest, precision: str) -> Kernels:
    try:
        module = import_module(_MODULE)
    except ModuleNotFoundError as error:
        if error.name == _MODULE:
            return Kernels(PORTABLE, "jinabert-onnx-kernels is not installed")
        return _unusable(f"jinabert-onnx-kernels cannot be imported ({first_line(error)})")
    except (ImportError, SyntaxError, ValueError, OSError) as error:
        return _unusable(f"jinabert-onnx-kernels cannot be imported ({first_line(error)})")
    try:
        return _of(module, request, precision)
    except (AttributeError, OSError, TypeError) as error:  # of a damaged installation, or of another release
        return _unusable(f"jinabert-onnx-kernels cannot be used ({first_line(error)})")


def _of(module: ModuleType, request: KernelRequest, precision: str) -> Kernels:
    release = f"jinabert-onnx-kernels {module.__version__}"
    if request.domain_version != module.DOMAIN_VERSION:
        return _unusable(
            f"{release} has version {module.DOMAIN_VERSION} of the operators, and this graph {request.domain_version}; "
            "install the release that fits, or export the bundle again"
        )
    bfloat16 = precision == "int8"  # whose own rounding is a hundred times as coarse; fp32 stays fp32
    instructions = module.attention_instructions(request.head_size, bfloat16)
    if instructions is None:
        return Kernels(PORTABLE, f"{release} has none for heads of {request.head_size} channels on this processor")
    return Kernels(instructions, release, module.library_path(), bfloat16)


def _unusable(reason: str) -> Kernels:
    logger.warning("native kernels are not used: %s", reason)
    return Kernels(PORTABLE, reason)
