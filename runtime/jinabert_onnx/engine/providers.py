"""The onnxruntime execution provider that runs a model, and the errors where it is not available.

An explicit request is met or refused, never replaced. Knows nothing of models or texts.
"""

from __future__ import annotations

import os
from typing import Any

from jinabert_onnx.errors import InputError, MissingDependencyError, ProviderError

PROVIDERS = ("auto", "cpu", "cuda")
_NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
_WANTED = ("", "0", "false", "no", "off")  # its values of users who want telemetry


def import_onnxruntime() -> Any:
    """Import onnxruntime, whichever of its wheels is installed.

    Since 1.29 its wheels send usage data to Microsoft unless the environment says otherwise before it is imported, and
    the thread that does it makes forked children hang at exit. So the variable is set here, unless it is set already.
    On Windows, where no variable is asked, and where onnxruntime was imported before, a call switches it off.

    Raises:
        MissingDependencyError: neither is.
    """
    wish = os.environ.setdefault(_NO_TELEMETRY, "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            f"onnxruntime cannot be imported ({error}); install one: "
            "pip install 'jinabert-onnx[cpu]'  or, for NVIDIA GPUs,  pip install 'jinabert-onnx[gpu]'"
        ) from error
    if wish.lower() not in _WANTED:
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def choose(provider: str, precision: str, available: list[str]) -> list[str]:
    """List the execution providers to try, best first, each "cpu" or "cuda".

    `available` are onnxruntime's names of the providers built into the installed wheel. "auto" prefers
    CUDA where the wheel has it, except for int8, which has no CUDA kernels.

    Raises:
        InputError: `provider` is not one of `PROVIDERS`.
        ProviderError: CUDA is requested and the wheel lacks it, or for int8.
    """
    if provider not in PROVIDERS:
        raise InputError(f"provider {provider!r} is unknown; use one of {', '.join(PROVIDERS)}")
    has_cuda = _NAMES["cuda"] in available
    if provider == "cuda":
        if precision == "int8":
            raise ProviderError("int8 has no CUDA kernels in onnxruntime; use precision fp16 on cuda, or provider cpu")
        if not has_cuda:
            raise ProviderError(
                f"the installed onnxruntime has no CUDA provider (it has {', '.join(available)}); "
                "replace it: pip uninstall onnxruntime && pip install 'jinabert-onnx[gpu]'"
            )
        return ["cuda"]
    if provider == "auto" and has_cuda and precision != "int8":
        return ["cuda", "cpu"]
    return ["cpu"]


def provider_arguments(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the `providers` argument of `InferenceSession` for "cpu" or "cuda".

    Behind CUDA the CPU provider stays for the shape arithmetic that onnxruntime keeps there.
    """
    cpu: tuple[str, dict[str, Any]] = (_NAMES["cpu"], {})
    if name == "cpu":
        return [cpu]
    # Growing the arena by what is requested, not by powers of two, bounds device memory; TF32, onnxruntime's
    # default, would keep 10 bits of the mantissa where fp32 is promised.
    return [(_NAMES["cuda"], {"arena_extend_strategy": "kSameAsRequested", "use_tf32": "0"}), cpu]


def provider_of(onnxruntime_providers: list[str]) -> str:
    """Return "cpu" or "cuda" of the providers that a session reports, the one in use first."""
    return "cuda" if onnxruntime_providers[0] == _NAMES["cuda"] else "cpu"


def reason_of(requested: str, precision: str, available: list[str], actual: str) -> str:
    """Return in words why a session that was requested on `requested` runs on `actual`."""
    if requested != "auto":
        return "as asked"
    if actual == "cuda":
        return "the installed onnxruntime has CUDA, and it started"
    if precision == "int8":
        return "int8 has no CUDA kernels"
    if _NAMES["cuda"] not in available:
        return "the installed onnxruntime has no CUDA provider"
    return "CUDA could not be started or cannot run this; the log says why"
