"""Native kernels in place of a graph's own operators, where `jinabert-onnx-kernels` is installed and fits.

Says what will run and why, before a session is made. Knows nothing of bundles, and does not open onnxruntime.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

from jinabert_onnx.errors import InputError, KernelsError, first_line

from .cpu import cpu_features

KERNELS = ("auto", "off", "require")
KERNELS_VARIABLE = "JINABERT_ONNX_KERNELS"
PORTABLE = "portable"
LAYERS_VERSION = 3  # of the `jinabert` operators: the first whose int8 graphs have layers that kernels compute
_MODULE = "jinabert_onnx_kernels"

logger = logging.getLogger("jinabert_onnx")


@dataclass(frozen=True)
class KernelRequest:
    """Which kernels are asked for, and what they must fit.

    Attributes:
        asked: one of `KERNELS`.
        head_size: channels of a head.
        hidden_size: channels of a token.
        domain_version: version of the graph's `jinabert` operators; None if it has none.
    """

    asked: str
    head_size: int
    hidden_size: int
    domain_version: int | None


@dataclass(frozen=True)
class Kernels:
    """What computes attention, and what the layers around it: their products, norms and feed-forward.

    Attributes:
        attention: the instruction set of the native kernel, such as "avx512"; "portable" if the graph's own operators
            run.
        reason: why, in words.
        layers: the same of the layers, such as "avx512_vnni".
        layers_reason: why, in words.
        library: the file that onnxruntime registers; None if there is nothing to register.
        bfloat16: whether attention may multiply in bfloat16.
    """

    attention: str
    reason: str
    layers: str
    layers_reason: str
    library: Path | None = None
    bfloat16: bool = False

    @property
    def native(self) -> bool:
        """Return whether a native kernel computes attention."""
        return self.attention != PORTABLE

    @property
    def native_layers(self) -> bool:
        """Return whether native kernels compute the layers."""
        return self.layers != PORTABLE


NO_KERNELS = Kernels(PORTABLE, "not asked for", PORTABLE, "not asked for")


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
    """Choose what computes attention and layers on `provider`, "cpu" or "cuda", in this precision.

    A library that is installed and cannot be used is warned of; that there is none for this case is information. So is
    what a library lacks for the layers: where kernels are required, those of attention are.

    Raises:
        KernelsError: kernels are required, and there are none.
    """
    if request.asked == "off":
        return _portable("switched off")
    kernels = _outside(request, provider, precision) or _installed(request, precision)
    if request.asked == "require" and not kernels.native:
        raise KernelsError(f"kernels are required, and none can run: {kernels.reason}; fix that, or use kernels 'auto'")
    return kernels


def attention_alone(kernels: Kernels) -> Kernels:
    """Return the same without native layers."""
    return replace(kernels, layers=PORTABLE)


def without_layers(kernels: Kernels, error: BaseException) -> Kernels:
    """Return what runs after onnxruntime has refused native layers, but not native attention; warn of it."""
    reason = f"onnxruntime refuses native layers ({first_line(error)})"
    logger.warning("native layers are not used: %s", reason)
    return replace(attention_alone(kernels), layers_reason=reason)


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
        return _portable(f"kernels are for the CPU, and this runs on {provider}")
    if precision == "fp16":
        return _portable("there are none for fp16")
    if request.domain_version is None:
        return _portable("the graph has none of the operators that kernels compute")
    return None


def _installed(request: KernelRequest, precision: str) -> Kernels:
    try:
        module = import_module(_MODULE)
    except ModuleNotFoundError as error:
        if error.name == _MODULE:
            return _portable("jinabert-onnx-kernels is not installed")
        return _unusable(f"jinabert-onnx-kernels cannot be imported ({first_line(error)})")
    except (ImportError, SyntaxError, ValueError, OSError) as error:
        return _unusable(f"jinabert-onnx-kernels cannot be imported ({first_line(error)})")
    try:
        return _of(module, request, precision)
    except (AttributeError, OSError, TypeError) as error:  # of a damaged installation, or of another release
        return _unusable(f"jinabert-onnx-kernels cannot be used ({first_line(error)})")


def _of(module: ModuleType, request: KernelRequest, precision: str) -> Kernels:
    release = f"jinabert-onnx-kernels {module.__version__}"
    oldest, newest = module.OLDEST_DOMAIN_VERSION, module.DOMAIN_VERSION
    if request.domain_version not in range(oldest, newest + 1):
        return _unusable(
            f"{release} has versions {oldest} to {newest} of the operators, and this graph {request.domain_version}; "
            "install the release that fits, or export the bundle again"
        )
    bfloat16 = precision == "int8"  # whose own rounding is a hundred times as coarse; fp32 stays fp32
    attention = module.attention_instructions(request.head_size, bfloat16)
    reason = release if attention else f"{release} has none for heads of {request.head_size} channels on this processor"
    layers, layers_reason = _layers(module, release, request, precision)
    library = module.library_path() if attention or layers else None
    return Kernels(attention or PORTABLE, reason, layers or PORTABLE, layers_reason, library, bfloat16)


def _layers(module: ModuleType, release: str, request: KernelRequest, precision: str) -> tuple[str | None, str]:
    """Return the instruction set of the layers, None if the graph's own operators compute them, and why."""
    if precision != "int8":
        return None, f"there are none for {precision}"
    if request.domain_version is None or request.domain_version < LAYERS_VERSION:
        return None, (
            f"there are none for graphs with version {request.domain_version} of the operators; export the bundle again"
        )
    instructions = module.layer_instructions(request.hidden_size)
    if instructions:
        return instructions, release
    if cpu_features().int8 == "amx_int8":
        return None, "this processor has AMX, with which onnxruntime's own products are faster"
    return None, f"{release} has none for layers of {request.hidden_size} channels on this processor"


def _unusable(reason: str) -> Kernels:
    logger.warning("native kernels are not used: %s", reason)
    return _portable(reason)


def _portable(reason: str) -> Kernels:
    return Kernels(PORTABLE, reason, PORTABLE, reason)
