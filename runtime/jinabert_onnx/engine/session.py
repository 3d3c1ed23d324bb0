"""A padded batch to token embeddings, or to a cross-encoder's logits: owns the onnxruntime session.

Knows nothing of texts, pooling or bundles; takes the path of an ONNX file.
"""

from __future__ import annotations

import contextlib
import os
from _thread import get_ident
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.errors import BundleError, RunError, StateError, first_line
from jinabert_onnx.foreign_errors import is_from

from . import providers
from .background import BackgroundCall
from .cancellation import Limits
from .fork_safety import keep_in_children
from .kernels import KernelRequest
from .memory_model import give_back_freed
from .session_options import Created, create_session, nodes_by_provider
from .threads import SharedThreads, count_threads
from .waiting import forget_interrupted
from .watching import WatchedFiles

_INPUTS = {"input_ids", "attention_mask"}
_TOKEN_TYPES = "token_type_ids"  # an input of some cross-encoders
_OUTPUTS = ("last_hidden_state", "logits")  # of embedding models, of cross-encoders
_FATAL = 4  # the severity below which a run logs nothing: its message is in the error that it raises

# Padded tokens that run at a time, in one batch or several, after which memory is released. That adds 0.1 s to the next
# such batch: 5 % of one of 2048 tokens, for 120 MB (base size); next to nothing of one of 8192, for 450 MB.
LARGE_BATCH = 4096


class SessionLoading:
    """A session that onnxruntime opens in a thread, while the caller does something else (onnxruntime 1.23: then).

    with SessionLoading(path, "fp32") as loading:
        tokenizer = Tokenizer(...)
        session = Session(loading)
    """

    def __init__(
        self,
        path: Path,
        precision: str,
        provider: str = "auto",
        threads: int | str | SharedThreads = "auto",
        weights: Sequence[Path] = (),
        kernels: KernelRequest | None = None,
    ) -> None:
        """Decide how to load the file at `path`; entering the block begins.

        `threads` is a number up to 1024, "auto", or a pool shared with other sessions. `weights` are the files beside
        `path` that hold its weights; they are watched as it is. Without a request for `kernels` there are none.

        Raises:
            InputError: `threads` is out of range or `provider` unknown.
            ProviderError: the requested provider is not available.
            MissingDependencyError: onnxruntime is not installed.
        """
        self.path, self.precision, self.asked_provider = path, precision, provider
        self.shared = threads if isinstance(threads, SharedThreads) else None
        self.threads, self.threads_reason = _thread_count(threads)
        self.onnxruntime = onnxruntime = providers.import_onnxruntime()
        self.available: list[str] = onnxruntime.get_available_providers()
        candidates = providers.choose(provider, precision, self.available)
        self.files = WatchedFiles([path, *weights])  # as they are before onnxruntime maps them
        self._call = BackgroundCall[Created](
            partial(create_session, onnxruntime, path, precision, self.threads, candidates, kernels)
        )

    def __enter__(self) -> SessionLoading:
        self._call.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call.__exit__(kind, error, trace)

    def result(self) -> Created:
        """Wait for onnxruntime's `InferenceSession`.

        Raises:
            ProviderError: the requested provider is not available.
            BundleError: onnxruntime cannot read the file.
            KernelsError: native kernels are required, and none can run.
        """
        return self._call.result()


def open_session(
    path: Path, precision: str, provider: str = "auto", threads: int | str | SharedThreads = "auto"
) -> Session:
    """Load the ONNX file at `path`, and wait for it.

    Raises:
        What `SessionLoading` and `Session` raise.
    """
    with SessionLoading(path, precision, provider, threads) as loading:
        return Session(loading)


class Session:
    """One ONNX file on one execution provider. Several threads may run it at once.

    Attributes:
        provider: "cpu" or "cuda", the one that the session actually uses.
        provider_reason: why, in words.
        threads: threads of one operator on the CPU.
        threads_reason: where their number comes from, in words.
        kernels: what computes attention and layers, and why.
        output: "last_hidden_state", or "logits" of a cross-encoder.
        width: the channels of a token embedding, or the labels, as the graph declares them.
        takes_token_types: whether the graph has the input `token_type_ids`.
        nodes: how many nodes of the graph run on "cpu" and on "cuda"; None where onnxruntime is too old to report it.
    """

    def __init__(self, loading: SessionLoading) -> None:
        """Wait for the end of `loading`.

        Raises:
            ProviderError: the requested provider is not available.
            BundleError: onnxruntime cannot read the file, or it is not one of our graphs.
            KernelsError: native kernels are required, and none can run.
        """
        self._shared, self._onnxruntime = loading.shared, loading.onnxruntime
        self.threads, self.threads_reason = loading.threads, loading.threads_reason
        self._files: WatchedFiles | None = loading.files
        created = loading.result()
        self._session: Any = created.session
        self.kernels = created.kernels
        keep_in_children(self._session)
        self._process = os.getpid()
        self._running: dict[tuple[int, object], int] = {}  # by thread, padded tokens of each batch that runs
        self._large = False  # whether `LARGE_BATCH` ran at a time, so that memory is to be released
        self.provider = providers.provider_of(self._session.get_providers())
        self.provider_reason = providers.reason_of(
            loading.asked_provider, loading.precision, loading.available, self.provider
        )
        self.nodes = nodes_by_provider(self._session)
        inputs = {value.name for value in self._session.get_inputs()}
        widths = {value.name: value.shape[-1] for value in self._session.get_outputs()}
        _require_our_graph(inputs, widths, loading.path)
        self.takes_token_types = _TOKEN_TYPES in inputs
        self.output = next(name for name in _OUTPUTS if name in widths)
        self.width: Any = widths[self.output]
        give_back_freed()  # what reading the file took

    def require_usable(self) -> None:
        """Return if `run` can be called.

        Raises:
            StateError: the session is closed, was loaded before the process forked, or its files have changed.
        """
        self._usable()

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        limits: Limits | None = None,
        token_type_ids: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Compute token embeddings, float32 (batch, sequence, hidden), or logits (batch, labels) of a cross-encoder.

        All inputs are int64 (batch, sequence). `token_type_ids` are for graphs that take them; default: 0.

        Raises:
            RunError: onnxruntime failed, most probably for lack of memory.
            CancelledError, DeadlineError: `limits` ended the call.
            StateError: the session is closed, was loaded before the process forked, or its files have changed.
        """
        limits = limits or Limits()
        session = self._usable()
        options = self._run_options()
        feeds = self._feeds(input_ids, attention_mask, token_type_ids)
        turn = self._shared.turn(limits) if self._shared else contextlib.nullcontext()
        with turn, self._counted(session, input_ids.size):
            limits.check()
            try:
                with limits.ending(options):
                    return self._run(session, feeds, options)
            except Exception as error:  # onnxruntime's exceptions share no public base
                if not is_from("onnxruntime", error):
                    raise
                if options.terminate:
                    raise limits.error() from None
                batch, sequence = input_ids.shape
                raise RunError(
                    f"onnxruntime failed on {batch} x {sequence} tokens ({first_line(error)}); if memory is "
                    "short, use a smaller batch_size or max_length"
                ) from error

    def give_back(self) -> None:
        """Release memory that earlier runs took; all of it only if nothing else is running.

        Raises:
            StateError: the session is closed, or was loaded before the process forked.
        """
        self._give_back(self._usable())

    def _give_back(self, session: Any) -> None:
        options = self._run_options()
        # onnxruntime's arena shrinks at the end of a run: so run one token.
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        one = np.ones((1, 1), dtype=np.int64)
        try:
            self._run(session, self._feeds(one - 1, one), options)
        except Exception as error:  # where one token fails, memory has run out
            if not is_from("onnxruntime", error):
                raise
        give_back_freed()

    def close(self) -> None:
        """Release the memory once no call is running any more; `run` raises a StateError from now on."""
        self._session = self._files = None
        give_back_freed()

    def _usable(self) -> Any:
        session, files = self._session, self._files
        if session is None or files is None:
            raise StateError("this model is closed; load it again")
        if os.getpid() != self._process:
            raise StateError(
                "this model was loaded before the process forked, and onnxruntime's threads do not survive that; "
                "load it in the child, or start processes with multiprocessing's 'spawn'"
            )
        files.require_unchanged()
        return session

    def _feeds(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        token_type_ids: NDArray[np.int64] | None = None,
    ) -> dict[str, NDArray[np.int64]]:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.takes_token_types:
            feeds[_TOKEN_TYPES] = np.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        return feeds

    def _run(self, session: Any, feeds: dict[str, NDArray[np.int64]], options: Any) -> NDArray[np.float32]:
        batch, sequence = feeds["input_ids"].shape
        of_tokens = self.output == _OUTPUTS[0]
        # Into an array of ours: one of onnxruntime's would keep a piece of its arena from being released.
        output = np.empty((batch, sequence, self.width) if of_tokens else (batch, self.width), dtype=np.float32)
        binding = session.io_binding()
        for name, values in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values))
        binding.bind_output(self.output, "cpu", 0, np.float32, output.shape, output.ctypes.data)
        session.run_with_iobinding(binding, options)
        return output

    def _run_options(self) -> Any:
        options = self._onnxruntime.RunOptions()
        options.log_severity_level = _FATAL
        return options

    @contextlib.contextmanager
    def _counted(self, session: Any, tokens: int) -> Iterator[None]:
        """Count a batch as running while the block lasts, and release memory once a large amount has run.

        Releasing it raises nothing: what the batch computed stands, though the model may have been closed meanwhile.
        """
        forget_interrupted(self._running)
        batch = (get_ident(), object())
        try:
            self._running[batch] = tokens
            self._large = self._large or sum(list(self._running.values())) >= LARGE_BATCH
            yield
        finally:
            self._running.pop(batch, None)  # one step, which no signal's handler comes between
            idle = self._large and not self._running
            self._large = self._large and not idle
            if idle and self.provider == "cpu" and self._session is not None:
                self._give_back(session)


def _thread_count(threads: int | str | SharedThreads) -> tuple[int, str]:
    """Return the threads of one operator, and where their number comes from."""
    if isinstance(threads, SharedThreads):
        return threads.threads, f"shared, {threads.reason}"
    return count_threads(threads)


def _require_our_graph(inputs: set[str], outputs: Iterable[str], path: Path) -> None:
    if inputs - {_TOKEN_TYPES} != _INPUTS or not set(_OUTPUTS) & set(outputs):
        raise BundleError(
            f"{path}: inputs {sorted(inputs)} and outputs {sorted(outputs)} are not {sorted(_INPUTS)} and "
            f"{' or '.join(_OUTPUTS)}; this file was not made by jinabert-onnx"
        )
