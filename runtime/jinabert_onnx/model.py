"""A loaded bundle, what runs it and where: the base of `Embedder` and `CrossEncoder`, which add what it computes."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import ClassVar, NoReturn, Self

from .bundle.fingerprint import Fingerprint, fingerprint_of
from .bundle.manifest import Bundle
from .encoding import loading
from .encoding.load_options import LoadOptions
from .encoding.loaded_model import LoadedModel
from .encoding.settings import require_length
from .engine.kernels import Kernels
from .engine.threads import SharedThreads
from .errors import InputTypeError


class Model(ABC):
    """A loaded bundle. Load one as an `Embedder` or a `CrossEncoder`.

    Any number of threads may call it at once. A forked child must load its own. `close` it, or use it in a `with`
    statement, to release its memory before Python does.
    """

    _named: ClassVar[str]  # in messages
    _scores: ClassVar[bool]  # whether its bundles are those of cross-encoders

    def __init__(self, model: LoadedModel, precision_reason: str) -> None:
        self._model = model
        self._precision_reason = precision_reason
        self._max_seq_length = model.bundle.manifest.default_max_length

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        *,
        precision: str = LoadOptions.precision,
        provider: str = LoadOptions.provider,
        threads: int | str | SharedThreads = LoadOptions.threads,
        max_memory: int | str | None = LoadOptions.max_memory,
        integrity: str = LoadOptions.integrity,
        self_test: bool = LoadOptions.self_test,
        revision: str | None = LoadOptions.revision,
        local_files_only: bool = LoadOptions.local_files_only,
        kernels: str = LoadOptions.kernels,
    ) -> Self:
        """Load a bundle made by `jinabert-onnx export`, checking its files and what it computes here.

        Args:
            source: directory of the bundle, or the hub id (owner/name) of one.
            precision: "fp32", "fp16" or "int8", the weights and the arithmetic; "auto" picks what is fast here.
            provider: "cpu", "cuda" (or an error that says why not) or "auto".
            threads: CPU threads of one operator; "auto" takes what affinity, container and environment allow; a
                `SharedThreads` is shared with other models.
            max_memory: limit of main memory (not of a GPU) in bytes, or a str such as "800MB": batches are made to fit,
                and a text that cannot fit is refused. Default: no limit.
            integrity: "full" compares the SHA-256 of every file read with the manifest; "fast" does it once and then
                looks at sizes, times and headers; "off" trusts the files.
            self_test: compute what a few short texts give, and compare with the export.
            revision: branch, tag or commit, for a hub id only.
            local_files_only: never ask the hub; a hub id must have been downloaded before.
            kernels: "auto" lets the native kernels of `jinabert-onnx-kernels` compute attention, and int8's layers, on
                the CPU if they are installed and fit (or as the variable JINABERT_ONNX_KERNELS says), "off" does not,
                "require" refuses to load without those of attention, and takes the CPU where `provider` is "auto".

        Raises:
            BundleError: not a bundle, damaged, of another schema, or without this precision.
            DownloadError: the hub id cannot be fetched.
            ProviderError: the provider is not available, or cannot run this precision.
            KernelsError: native kernels are required, and none can run.
            SelfTestError: the model computes something else here than where it was exported.
            MemoryLimitError: the model alone takes more than `max_memory`.
            InputError: an argument is out of range.
            MissingDependencyError: onnxruntime is not installed.
        """
        options = LoadOptions(
            precision, provider, threads, max_memory, integrity, self_test, revision, local_files_only, kernels
        )
        opened = loading.open_model(source, options, cls._scores)
        loaded = cls(opened.model, opened.precision_reason)
        if self_test:
            loaded.require_export_results()
        return loaded

    @abstractmethod
    def require_export_results(self) -> None:
        """Return if the few texts that the bundle holds for it give here what they gave at export, as `load` checks.

        Raises:
            SelfTestError: they do not.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        path = self.bundle.path.absolute()
        raise InputTypeError(
            f"{self._named} cannot be pickled or copied; send its path ({path}) and load it there with "
            f"{type(self).__name__}.load"
        )

    def close(self) -> None:
        """Release the memory once running calls have ended; further calls raise a StateError."""
        self._model.session.close()

    @property
    def loaded(self) -> LoadedModel:
        """Return the loaded model, for code of this package that composes the steps of `encoding` by itself."""
        return self._model

    @property
    def bundle(self) -> Bundle:
        """Return the bundle: its place and its manifest."""
        return self._model.bundle

    @property
    def precision(self) -> str:
        """Return the precision that runs: "fp32", "fp16" or "int8"."""
        return self._model.precision

    @property
    def precision_reason(self) -> str:
        """Say why it is this precision."""
        return self._precision_reason

    @property
    def provider(self) -> str:
        """Return the execution provider that actually runs: "cpu" or "cuda"."""
        return self._model.session.provider

    @property
    def kernels(self) -> Kernels:
        """Return what computes attention and layers: native kernels, or the graph's own operators; and why."""
        return self._model.session.kernels

    @property
    def provider_reason(self) -> str:
        """Say why it is this provider."""
        return self._model.session.provider_reason

    @property
    def nodes(self) -> dict[str, int] | None:
        """Count the nodes of the graph on "cpu" and on "cuda"; None where onnxruntime's release does not tell."""
        return self._model.session.nodes

    @property
    def threads(self) -> int:
        """Return the CPU threads of one operator."""
        return self._model.session.threads

    @property
    def threads_reason(self) -> str:
        """Say where the number of threads comes from."""
        return self._model.session.threads_reason

    @property
    def fingerprint(self) -> Fingerprint:
        """Return the vector space, or the scores, of this model at its `max_seq_length`, and the precision."""
        return fingerprint_of(self._model.bundle.manifest, self.precision, self._max_seq_length)

    @property
    def max_seq_length(self) -> int:
        """Return the number of tokens, special ones included, that inputs are cut to unless `max_length` is given.

        It can be set, to more than the special tokens and at most the model's limit; other values are an InputError.
        """
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        self._max_seq_length = require_length(self._model, "max_seq_length", value)
