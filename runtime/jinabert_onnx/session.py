"""A padded batch to token embeddings: owns the onnxruntime session and its options.

Knows nothing of texts, pooling or bundles; takes the path of an ONNX file.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import providers
from .errors import BundleError, ProviderError, RunError, first_line
from .inputs import require_range

_INPUTS = {"input_ids", "attention_mask"}
_OUTPUT = "last_hidden_state"

# Padded tokens of a batch after which memory is given back. Doing so costs 0.1 s of the next such batch: a twentieth
# of 2048 tokens, for 120 MB (benchmarks/memory.py, base size); next to nothing of 8192, for 450 MB.
LARGE_BATCH = 4096

logger = logging.getLogger("jinabert_onnx")


class Session:
    """One ONNX file on one execution provider.

    Attributes:
        provider: "cpu" or "cuda", what the session really got.
        threads: threads of one operator on the CPU.
    """

    def __init__(self, path: Path, precision: str, provider: str = "auto", threads: int | None = None) -> None:
        """Load the file at `path`; `threads`, at most 1024, defaults to the CPUs this process may use.

        Raises:
            InputError: `threads` is out of range or `provider` unknown.
            ProviderError: the requested provider cannot be had.
            BundleError: onnxruntime cannot read the file, or it is not one of our graphs.
            MissingDependencyError: onnxruntime is not installed.
        """
        self.threads = providers.default_threads() if threads is None else require_range("threads", threads, 1, 1024)
        onnxruntime = providers.import_onnxruntime()
        candidates = providers.choose(provider, precision, onnxruntime.get_available_providers())
        self._session = _open(onnxruntime, path, precision, self.threads, candidates)
        self.provider = providers.provider_of(self._session.get_providers())
        self._after_large = _shrinking(onnxruntime) if self.provider == "cpu" else None
        _require_our_graph(self._session, path)

    @property
    def hidden_size(self) -> object:
        """Channels of a token embedding, as the graph declares them."""
        return next(value.shape[-1] for value in self._session.get_outputs() if value.name == _OUTPUT)

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Token embeddings, float32 (batch, sequence, hidden), of int64 (batch, sequence) inputs.

        Raises:
            RunError: onnxruntime failed, most likely for want of memory.
        """
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        try:
            options = self._after_large if input_ids.size >= LARGE_BATCH else None
            output: NDArray[np.float32] = self._session.run([_OUTPUT], feeds, options)[0]
        except Exception as error:  # onnxruntime's exceptions share no public base
            batch, sequence = input_ids.shape
            raise RunError(
                f"onnxruntime failed on {batch} x {sequence} tokens ({first_line(error)}); if memory is "
                "short, use a smaller batch_size or max_length"
            ) from error
        return output


def _session_options(onnxruntime: Any, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Weights that softmax gives to far tokens are denormal floats, which a CPU multiplies
    # up to a hundred times slower than zero.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return options


def _optimisation(onnxruntime: Any, provider: str, precision: str) -> tuple[Any, list[str]]:
    """The level of onnxruntime's graph optimisation and the passes to leave out (benchmarks/session_options.py).

    The CPU's fp32 and int8 graphs were optimised at export: doing it again costs most of the time of loading and
    gains nothing. The fp16 graph is made for GPUs; on a CPU it is run as plain BERT graphs are.
    """
    levels = onnxruntime.GraphOptimizationLevel
    if provider == "cuda":
        return levels.ORT_ENABLE_ALL, []
    if precision == "fp16":
        return levels.ORT_ENABLE_EXTENDED, ["SkipLayerNormFusion"]
    return levels.ORT_DISABLE_ALL, []


def _shrinking(onnxruntime: Any) -> Any:
    """Options of a run after which memory is given back, which the CPU's arena otherwise keeps for good."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _open(onnxruntime: Any, path: Path, precision: str, threads: int, candidates: list[str]) -> Any:
    """A session on the first candidate that onnxruntime really gives."""
    if "cuda" in candidates and hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it misses, where results go
            onnxruntime.preload_dlls()  # finds the CUDA libraries that pip installed
    options = _session_options(onnxruntime, threads)
    for name in candidates:
        options.graph_optimization_level, left_out = _optimisation(onnxruntime, name, precision)
        try:
            session = onnxruntime.InferenceSession(
                path,
                options,
                providers=providers.provider_arguments(name),
                disabled_optimizers=left_out,
                enable_fallback=0,  # its own way of moving to the CPU, at load or in the middle of a run
            )
        except Exception as error:  # onnxruntime's exceptions share no public base
            reason = first_line(error)
            if name == "cuda" and len(candidates) > 1:
                logger.warning("CUDA could not be used (%s); running on the CPU", reason)
                continue
            raise _load_error(path, name, reason) from error
        if providers.provider_of(session.get_providers()) == name:
            return session
        if len(candidates) == 1:
            raise ProviderError(
                f"onnxruntime could not start {name}, it would run on the CPU; check the NVIDIA driver and the CUDA "
                "and cuDNN libraries (pip install 'jinabert-onnx[gpu]' brings them), or use provider cpu"
            )
        logger.warning("CUDA could not be started (driver or libraries missing); running on the CPU")
    raise AssertionError("the CPU is always the last candidate")


def _load_error(path: Path, name: str, reason: str) -> Exception:
    if name == "cuda":
        return ProviderError(f"cuda cannot run {path}: {reason}")
    return BundleError(f"{path}: onnxruntime cannot load it ({reason}); export or download the bundle again")


def _require_our_graph(session: Any, path: Path) -> None:
    inputs = {value.name for value in session.get_inputs()}
    outputs = {value.name for value in session.get_outputs()}
    if inputs != _INPUTS or _OUTPUT not in outputs:
        raise BundleError(
            f"{path}: inputs {sorted(inputs)} and outputs {sorted(outputs)} are not {sorted(_INPUTS)} and "
            f"{_OUTPUT}; this file was not made by jinabert-onnx"
        )
