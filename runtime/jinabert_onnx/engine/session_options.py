"""Opening an ONNX file in onnxruntime: its options, and the providers to try, best first.

Knows nothing of texts, batches or bundles.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jinabert_onnx.errors import BundleError, ProviderError, first_line
from jinabert_onnx.foreign_errors import is_from

from . import providers
from .kernels import (
    NO_KERNELS,
    KernelRequest,
    Kernels,
    attention_alone,
    choose_kernels,
    refused,
    without_layers,
)

# Microseconds that an idle thread spins, waiting for more work. By default it does so for tens of milliseconds after
# every run, which burns CPU and slows other processes; without any, a short text takes a tenth longer.
_SPIN_DURATION = 50

logger = logging.getLogger("jinabert_onnx")


class Created(NamedTuple):
    """An `InferenceSession`, and what computes attention and layers in it."""

    session: Any
    kernels: Kernels


def create_session(
    onnxruntime: Any,
    path: Path,
    precision: str,
    threads: int,
    candidates: list[str],
    request: KernelRequest | None,
    start: Callable[[], None],
) -> Created:
    """Create an `InferenceSession` on the first of `candidates`, as `providers.choose` gives them, that can be had.

    Without a `request`, no native kernels are looked for. `start` is called where onnxruntime's own work starts.

    The first session of a process leaves denormal floats off in the thread that calls this, for good, in numpy too: so
    call it in a thread that ends.

    Raises:
        ProviderError: the only candidate is CUDA, and it cannot be started or cannot run the file.
        BundleError: onnxruntime cannot read the file.
        KernelsError: native kernels are required, and none can run.
    """
    if "cuda" in candidates and hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(sys.stderr):  # it prints missing libraries to stdout, where results go
            onnxruntime.preload_dlls()  # finds the CUDA libraries that pip installed
    for name in candidates:
        try:
            created = _create_with_kernels(onnxruntime, path, name, precision, threads, request, start)
        except Exception as error:  # onnxruntime's exceptions share no public base
            if not is_from("onnxruntime", error):
                raise
            if name == "cuda" and len(candidates) > 1:
                logger.warning("CUDA could not be used (%s); running on the CPU", first_line(error))
                continue
            raise _load_error(path, name, first_line(error)) from error
        if providers.provider_of(created.session.get_providers()) == name:
            return created
        if len(candidates) == 1:
            raise ProviderError(
                f"onnxruntime could not start {name}, and would run on the CPU; check the NVIDIA driver and the CUDA "
                "and cuDNN libraries (pip install 'jinabert-onnx[gpu]' brings them), or use provider cpu"
            )
        logger.warning("CUDA could not be started (driver or libraries missing); running on the CPU")
    raise AssertionError("the CPU is always the last candidate")


def nodes_by_provider(session: Any) -> dict[str, int] | None:
    """Count the nodes of the graph that onnxruntime gave to "cpu" and "cuda"; None where its release does not tell."""
    names = session.get_providers()
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    counts: dict[str, int] = {}
    for group in session.get_provider_graph_assignment_info():
        name = providers.provider_of([group.ep_name, *names])
        counts[name] = counts.get(name, 0) + len(group.get_nodes())
    return counts


def _create_with_kernels(
    onnxruntime: Any,
    path: Path,
    provider: str,
    precision: str,
    threads: int,
    request: KernelRequest | None,
    start: Callable[[], None],
) -> Created:
    """Create a session with the kernels that there are for it, or without those that onnxruntime refuses."""
    create = partial(_create, onnxruntime, path, provider, precision, threads, start)
    kernels = choose_kernels(request, provider, precision) if request else NO_KERNELS
    if request is None or kernels.library is None:
        return Created(create(NO_KERNELS), kernels)
    session, refusal = _unless_refused(create, kernels)
    if refusal is None:
        return Created(session, kernels)
    if kernels.native and kernels.native_layers and request.asked != "require":
        session, second = _unless_refused(create, attention_alone(kernels))
        if second is None:
            return Created(session, without_layers(kernels, refusal))
    portable = create(NO_KERNELS)  # raises if the file is bad
    return Created(portable, refused(request, kernels, refusal))


def _unless_refused(create: Callable[[Kernels], Any], kernels: Kernels) -> tuple[Any, Exception | None]:
    """Return a session with these kernels, or why onnxruntime refuses to make it."""
    try:
        return create(kernels), None
    except Exception as error:  # onnxruntime's exceptions share no public base
        if not is_from("onnxruntime", error):
            raise
        return None, error


def _create(
    onnxruntime: Any,
    path: Path,
    provider: str,
    precision: str,
    threads: int,
    start: Callable[[], None],
    kernels: Kernels,
) -> Any:
    options = _session_options(onnxruntime, threads)
    if kernels.library:
        for key, value in _kernel_entries(kernels, threads).items():
            options.add_session_config_entry(key, value)
        options.register_custom_ops_library(str(kernels.library))  # which reads the entries
    options.graph_optimization_level, disabled = _optimization(onnxruntime, provider, precision)
    if options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL:
        # Inlining functions early serves optimisation alone; without it they are inlined as providers get their nodes.
        options.add_session_config_entry("session.disable_aot_function_inlining", "1")
    start()
    return onnxruntime.InferenceSession(
        path,
        options,
        providers=providers.provider_arguments(provider),
        disabled_optimizers=disabled,
        enable_fallback=0,  # else it moves to the CPU by itself, at load or in the middle of a run
    )


def _kernel_entries(kernels: Kernels, threads: int) -> dict[str, str]:
    """Return the entries of a session's configuration that say which operators the library registers, and how."""
    return {
        "jinabert.attention": "native" if kernels.native else "portable",
        "jinabert.attention_precision": "bfloat16" if kernels.bfloat16 else "float32",
        "jinabert.layers": "native" if kernels.native_layers else "portable",
        "jinabert.threads": str(threads),  # on which weights are packed
    }


def _session_options(onnxruntime: Any, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # a plan is kept for every shape that ever ran, and saves nothing here
    options.log_severity_level = 3
    entries = {
        # Weights that softmax gives to far tokens are denormal floats, which a CPU multiplies
        # up to a hundred times slower than zero.
        "session.set_denormal_as_zero": "1",
        "session.intra_op.spin_duration_us": str(_SPIN_DURATION),
        "session.force_spinning_stop": "1",  # the same for releases without a spin duration
        "session.record_ep_graph_assignment_info": "1",
    }
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return options


def _optimization(onnxruntime: Any, provider: str, precision: str) -> tuple[Any, list[str]]:
    """Return the level of onnxruntime's graph optimisation and the passes to disable (benchmarks/README.md).

    The CPU's fp32 and int8 graphs were optimised at export: doing it again costs most of the time of loading and
    gains nothing. The fp16 graph is made for GPUs; on a CPU it is run as plain BERT graphs are.
    """
    levels = onnxruntime.GraphOptimizationLevel
    if provider == "cuda":
        return levels.ORT_ENABLE_ALL, []
    if precision == "fp16":
        return levels.ORT_ENABLE_EXTENDED, ["SkipLayerNormFusion"]
    return levels.ORT_DISABLE_ALL, []


def _load_error(path: Path, name: str, reason: str) -> Exception:
    if name == "cuda":
        return ProviderError(f"cuda cannot run {path}: {reason}")
    return BundleError(f"{path}: onnxruntime cannot load it ({reason}); export or download the bundle again")
