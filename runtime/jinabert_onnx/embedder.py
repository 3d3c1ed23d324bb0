"""The public class: text -> tokens -> batches -> session -> pooling -> vectors.

Checks what is asked for and composes the other modules; holds no arithmetic of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import replace
from types import TracebackType
from typing import Literal, NoReturn, Unpack, overload

from .bundle.fingerprint import Fingerprint, fingerprint_of
from .bundle.manifest import Bundle
from .encoding import late_chunking, loading, steps, streaming, vector_types
from .encoding.load_options import LoadOptions
from .encoding.other_arguments import OtherArguments, require_no_effect
from .encoding.pooling import Vectors
from .encoding.results import Chunks, Embeddings
from .encoding.vector_types import AnyVectors
from .engine.cancellation import Cancellation, Limits
from .engine.threads import SharedThreads
from .errors import InputError, InputTypeError
from .progress import Progress
from .text.inputs import as_stream, as_texts, choose_prompt, require_range

Spans = Iterable[tuple[int, int]] | Callable[[str], Iterable[tuple[int, int]]] | str


class Embedder:
    """A loaded bundle that turns text into vectors. Make one with `Embedder.load`.

    Any number of threads may call it at once. A forked child must load its own. `close` it, or use it in a `with`
    statement, to give its memory back before Python does.
    """

    def __init__(self, model: steps.LoadedModel, precision_reason: str) -> None:
        self._model = model
        self._precision_reason = precision_reason
        self._max_seq_length = model.bundle.manifest.default_max_length

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        *,
        precision: str = "fp32",
        provider: str = "auto",
        threads: int | str | SharedThreads = "auto",
        max_memory: int | str | None = None,
        integrity: str = "fast",
        self_test: bool = True,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> Embedder:
        """Load a bundle made by `jinabert-onnx export`, checking its files and what it computes here.

        Args:
            source: directory of the bundle, or the hub id (owner/name) of one.
            precision: "fp32", "fp16" or "int8", the weights and the arithmetic; "auto" picks what is fast here.
            provider: "cpu", "cuda" (or an error that says why not) or "auto".
            threads: CPU threads of one operator; "auto" takes what affinity, container and environment allow; a
                `SharedThreads` is shared with other Embedders.
            max_memory: most bytes of main memory (not of a GPU), or a text such as "800MB": batches are made to fit, a
                text that cannot fit is refused. Default: no limit.
            integrity: "full" compares the SHA-256 of every file read with the manifest; "fast" does it once and then
                looks at sizes, times and headers; "off" trusts the files.
            self_test: compute a few short texts and compare with what they were at export.
            revision: branch, tag or commit, for a hub id only.
            local_files_only: never ask the hub; a hub id must have been downloaded before.

        Raises:
            BundleError: not a bundle, damaged, of another schema, or without this precision.
            DownloadError: the hub id cannot be fetched.
            ProviderError: the provider cannot be had, or cannot run this precision.
            SelfTestError: the model computes something else here than where it was exported.
            MemoryLimitError: the model alone takes more than `max_memory`.
            InputError: an argument is out of range.
            MissingDependencyError: onnxruntime is not installed.
        """
        options = LoadOptions(
            precision, provider, threads, max_memory, integrity, self_test, revision, local_files_only
        )
        opened = loading.open_model(source, options)
        embedder = cls(opened.model, opened.precision_reason)
        if self_test:
            loading.self_test(opened.model, lambda texts: embedder.encode(texts, truncation="head", prompt=""))
        return embedder

    def __enter__(self) -> Embedder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        path = self.bundle.path.absolute()
        raise InputTypeError(
            f"an Embedder cannot be pickled or copied; send its path ({path}) and load it there with Embedder.load"
        )

    def close(self) -> None:
        """Give the memory back, once calls that run have ended; further ones raise a StateError."""
        self._model.session.close()

    @property
    def loaded(self) -> steps.LoadedModel:
        """What runs, for code of this package that composes the steps of `encoding` by itself."""
        return self._model

    @property
    def bundle(self) -> Bundle:
        """The bundle's place and manifest."""
        return self._model.bundle

    @property
    def precision(self) -> str:
        """The precision that runs: "fp32", "fp16" or "int8"."""
        return self._model.precision

    @property
    def precision_reason(self) -> str:
        """Why it is this precision, in words."""
        return self._precision_reason

    @property
    def provider(self) -> str:
        """The execution provider that really runs: "cpu" or "cuda"."""
        return self._model.session.provider

    @property
    def provider_reason(self) -> str:
        """Why it is this provider, in words."""
        return self._model.session.provider_reason

    @property
    def nodes(self) -> dict[str, int] | None:
        """How many nodes of the graph run on "cpu" and on "cuda"; None where onnxruntime's release does not tell."""
        return self._model.session.nodes

    @property
    def threads(self) -> int:
        """CPU threads of one operator."""
        return self._model.session.threads

    @property
    def threads_reason(self) -> str:
        """Where the number of threads comes from, in words."""
        return self._model.session.threads_reason

    @property
    def fingerprint(self) -> Fingerprint:
        """The vector space of this model at its `max_seq_length`, and the precision; see `compatible`."""
        return fingerprint_of(self._model.bundle.manifest, self.precision, self._max_seq_length)

    @property
    def default_prompt(self) -> str:
        """What `encode` puts before each text unless told otherwise; the jina v2 family has none."""
        return self._prefix(None, None)

    @property
    def max_seq_length(self) -> int:
        """Tokens, special ones included, that `encode` cuts to unless `max_length` is given.

        Can be set, to more than the special tokens and at most the model's limit; else an InputError.
        """
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        self._max_seq_length = self._checked_length("max_seq_length", value)

    def get_sentence_embedding_dimension(self) -> int:
        """Channels of a vector."""
        return self._model.bundle.manifest.model.hidden_size

    def count_tokens(self, sentences: str | Iterable[str]) -> list[int]:
        """Tokens of each text before any cut, special tokens included.

        Raises:
            InputTypeError: a text is not a str.
            InputError: a text is not valid Unicode.
        """
        tokens = self._model.tokenizer(as_texts(sentences), self._model.bundle.manifest.model.max_tokens)
        return [len(ids) + dropped for ids, dropped in zip(tokens.input_ids, tokens.dropped, strict=True)]

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        batch_size: int = ...,
        *,
        show_progress_bar: bool | None = ...,
        output_value: Literal["sentence_embedding"] = ...,
        normalize_embeddings: bool = ...,
        max_length: int | None = ...,
        truncate_dim: int | None = ...,
        truncation: str = ...,
        output_dtype: str = ...,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        timeout: float | None = ...,
        cancellation: Cancellation | None = ...,
        **others: Unpack[OtherArguments],
    ) -> AnyVectors: ...

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        batch_size: int = ...,
        *,
        show_progress_bar: bool | None = ...,
        output_value: Literal["token_embeddings"],
        normalize_embeddings: bool = ...,
        max_length: int | None = ...,
        truncate_dim: int | None = ...,
        truncation: str = ...,
        output_dtype: str = ...,
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        timeout: float | None = ...,
        cancellation: Cancellation | None = ...,
        **others: Unpack[OtherArguments],
    ) -> AnyVectors | list[AnyVectors]: ...

    def encode(
        self,
        sentences: str | Iterable[str],
        batch_size: int = 32,
        *,
        show_progress_bar: bool | None = None,
        output_value: str = "sentence_embedding",
        normalize_embeddings: bool = False,
        max_length: int | None = None,
        truncate_dim: int | None = None,
        truncation: str = "warn",
        output_dtype: str = "float32",
        prompt_name: str | None = None,
        prompt: str | None = None,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
        **others: Unpack[OtherArguments],
    ) -> AnyVectors | list[AnyVectors]:
        """Embed texts; the result is in the order of the input.

        Args:
            sentences: one text, or any iterable of texts.
            batch_size: most texts that run together; fewer where they are long (512 tokens in all on a CPU).
            show_progress_bar: True, False, or None for a bar on a terminal when the work takes long.
            output_value: "sentence_embedding", or "token_embeddings" for one row a token.
            normalize_embeddings: scale each vector to length 1 (default as the model's own `encode`: no).
            max_length: tokens, special ones included, to cut each text to; default `max_seq_length`.
            truncate_dim: keep the first channels only, before normalising.
            truncation: what to do with a text of more tokens than `max_length`: "warn" reads its beginning and gives a
                TruncationWarning, "head" reads it without one, "tail" reads the end, "mean" reads all of it, in
                windows whose vectors are averaged by their tokens, "error" refuses it.
            output_dtype: "float32", "float16", "int8", "uint8" (of ranges that the bundle holds), "binary" or
                "ubinary" (a bit a channel); see `similarity`. Token embeddings are float32 or float16.
            prompt_name: name of one of the bundle's prompts to put before each text.
            prompt: text to put before each text.
            timeout: seconds after which the call ends with a DeadlineError.
            cancellation: ends the call from another thread, with a CancelledError.
            others: `convert_to_numpy`, `convert_to_tensor` and `device`, as sentence-transformers has them, where they
                ask for what happens anyway.

        Returns:
            (hidden,) for one text, (n, hidden) for n; for "token_embeddings" (tokens, hidden) for one text, a list of
            those for several. A text's vector does not depend on the texts it runs beside, beyond rounding.

        Raises:
            InputTypeError: a text is not a str; its index is named.
            InputError: an argument is out of range, or a text is not valid Unicode.
            TruncationError: a text is too long, and `truncation` is "error".
            MemoryLimitError: a text does not fit into `max_memory`; nothing was run.
            CancelledError, DeadlineError: the call was ended; the Embedder can be used again.
            StateError: the Embedder is closed, was loaded before the process forked, or its bundle was overwritten.
        """
        require_no_effect(others, self.provider)
        settings = self._settings(
            batch_size, normalize_embeddings, max_length, truncate_dim, truncation, output_dtype, timeout, cancellation
        )
        settings = replace(settings, prefix=self._prefix(prompt_name, prompt))
        if output_value == "token_embeddings":
            _require_rows_of_tokens(settings)
        elif output_value != "sentence_embedding":
            raise InputError(f"output_value {output_value!r} is neither 'sentence_embedding' nor 'token_embeddings'")
        reading = steps.read(self._model, as_texts(sentences), settings, count_dropped=False)
        with Progress(len(reading.reports), "texts", show_progress_bar) as progress:
            if output_value == "token_embeddings":
                rows = steps.token_rows(self._model, reading, settings, progress)
                return rows[0] if isinstance(sentences, str) else rows
            vectors = steps.vectors_of(self._model, reading, settings, progress)
        return vectors[0] if isinstance(sentences, str) else vectors

    def encode_with_report(
        self,
        sentences: str | Iterable[str],
        *,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        normalize_embeddings: bool = False,
        max_length: int | None = None,
        truncate_dim: int | None = None,
        truncation: str = "head",
        output_dtype: str = "float32",
        prompt_name: str | None = None,
        prompt: str | None = None,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
        **others: Unpack[OtherArguments],
    ) -> Embeddings:
        """`encode` that also tells of each text its tokens, those cut off and where, and the vectors' fingerprint.

        Arguments and errors are those of `encode`; the vectors are (n, dimensions) for one text too. A cut is told of
        in the report, not by a warning, unless `truncation` is "warn".
        """
        require_no_effect(others, self.provider)
        settings = self._settings(
            batch_size, normalize_embeddings, max_length, truncate_dim, truncation, output_dtype, timeout, cancellation
        )
        settings = replace(settings, prefix=self._prefix(prompt_name, prompt))
        reading = steps.read(self._model, as_texts(sentences), settings, count_dropped=True)
        with Progress(len(reading.reports), "texts", show_progress_bar) as progress:
            vectors = steps.vectors_of(self._model, reading, settings, progress)
        return Embeddings(vectors, reading.reports, self._fingerprint_of(settings))

    def encode_stream(
        self,
        sentences: Iterable[str],
        *,
        batch_size: int = 32,
        look_ahead: int = 1024,
        total: int | None = None,
        show_progress_bar: bool | None = None,
        normalize_embeddings: bool = False,
        max_length: int | None = None,
        truncate_dim: int | None = None,
        truncation: str = "warn",
        output_dtype: str = "float32",
        prompt_name: str | None = None,
        prompt: str | None = None,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
        **others: Unpack[OtherArguments],
    ) -> Iterator[AnyVectors]:
        """Embed a stream of any length in constant memory: a vector (hidden,) a text, in the order of the input.

        Arguments and errors are those of `encode`, but for:

        Args:
            look_ahead: most texts to take at once, which are sorted by length and run together.
            total: how many texts will come, for the time left; by default the length of `sentences`, if it has one.
            timeout: seconds for the whole stream.
        """
        require_no_effect(others, self.provider)
        settings = self._settings(
            batch_size, normalize_embeddings, max_length, truncate_dim, truncation, output_dtype, timeout, cancellation
        )
        settings = replace(settings, prefix=self._prefix(prompt_name, prompt))
        texts = as_stream(sentences)
        if total is None and isinstance(texts, Sized):
            total = len(texts)
        return streaming.stream(
            self._model,
            texts,
            settings,
            require_range("look_ahead", look_ahead, 1, None),
            Progress(total if total is None else require_range("total", total, 0, None), "texts", show_progress_bar),
        )

    def encode_chunks(
        self,
        text: str,
        spans: Spans = "sentences",
        *,
        overlap: int | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        output_dtype: str = "float32",
        prompt_name: str | None = None,
        prompt: str | None = None,
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
    ) -> Chunks:
        """Late chunking: read the whole text once, then give each span the mean of its own tokens in that context.

        Special tokens belong to no span: one over the whole text is close to `encode`, not equal.

        Args:
            text: one text of any length; beyond `max_seq_length` tokens it is read in overlapping windows, and each
                token is taken from the window in which it stands further from an edge.
            spans: pairs (start, end) of characters, "sentences", or a function that gives such pairs for the text.
            overlap: tokens that neighbouring windows share; default 512, or a quarter of a smaller window.
            normalize_embeddings: scale each vector to length 1.
            truncate_dim: keep the first channels only, before normalising.
            output_dtype: as for `encode`.
            prompt_name: as for `encode`; a prompt stands before each window and is in no span.
            prompt: likewise.
            timeout: seconds after which the call ends with a DeadlineError.
            cancellation: ends the call from another thread, with a CancelledError.

        Raises:
            InputError, InputTypeError: a span is empty, out of range or without a token; the model does not pool by
                mean.
            What `encode` raises.
        """
        settings = self._settings(
            1, normalize_embeddings, None, truncate_dim, "error", output_dtype, timeout, cancellation
        )
        settings = replace(settings, prefix=self._prefix(prompt_name, prompt))
        vectors, found = late_chunking.encode_chunks(self._model, text, spans, overlap, settings)
        return Chunks(vectors, found, self.fingerprint)

    def encode_query(
        self,
        sentences: str | Iterable[str],
        *,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        normalize_embeddings: bool = False,
        max_length: int | None = None,
        truncate_dim: int | None = None,
        truncation: str = "warn",
        output_dtype: str = "float32",
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
        **others: Unpack[OtherArguments],
    ) -> AnyVectors:
        """`encode` with the bundle's prompt for queries, if it has one (the jina v2 family has none).

        Arguments, result and errors are those of `encode`.
        """
        return self.encode(
            sentences,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            normalize_embeddings=normalize_embeddings,
            max_length=max_length,
            truncate_dim=truncate_dim,
            truncation=truncation,
            output_dtype=output_dtype,
            prompt_name=self._first_prompt("query"),
            timeout=timeout,
            cancellation=cancellation,
            **others,
        )

    def encode_document(
        self,
        sentences: str | Iterable[str],
        *,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        normalize_embeddings: bool = False,
        max_length: int | None = None,
        truncate_dim: int | None = None,
        truncation: str = "warn",
        output_dtype: str = "float32",
        timeout: float | None = None,
        cancellation: Cancellation | None = None,
        **others: Unpack[OtherArguments],
    ) -> AnyVectors:
        """`encode` with the bundle's prompt for documents, if it has one (the jina v2 family has none).

        Arguments, result and errors are those of `encode`.
        """
        return self.encode(
            sentences,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            normalize_embeddings=normalize_embeddings,
            max_length=max_length,
            truncate_dim=truncate_dim,
            truncation=truncation,
            output_dtype=output_dtype,
            prompt_name=self._first_prompt("document", "passage", "corpus"),
            timeout=timeout,
            cancellation=cancellation,
            **others,
        )

    @staticmethod
    def similarity(first: AnyVectors, second: AnyVectors, output_dtype: str = "float32") -> Vectors:
        """Cosine of every row of `first` (n, width) with every row of `second` (m, width): float32 (n, m).

        `output_dtype` is what the vectors were made with; any floating type will do for "float32". For binary types it
        is the cosine of vectors of -1 and 1. See `vector_types.similarity`.
        """
        return vector_types.similarity(first, second, output_dtype)

    def _settings(
        self,
        batch_size: int,
        normalize: bool,
        max_length: int | None,
        truncate_dim: int | None,
        truncation: str,
        output_dtype: str,
        timeout: float | None,
        cancellation: Cancellation | None,
    ) -> steps.Settings:
        """What a call asks for, checked; refuses before anything is tokenized."""
        self._model.session.require_usable()
        hidden = self.get_sentence_embedding_dimension()
        dimensions = hidden if truncate_dim is None else require_range("truncate_dim", truncate_dim, 1, hidden)
        vector_types.require_convertible(output_dtype, dimensions)
        if truncation not in steps.TRUNCATIONS:
            raise InputError(f"truncation {truncation!r} is unknown; use one of {', '.join(steps.TRUNCATIONS)}")
        return steps.Settings(
            max_length=self._max_seq_length if max_length is None else self._checked_length("max_length", max_length),
            dimensions=dimensions,
            limits=Limits(timeout, cancellation),
            batch_size=require_range("batch_size", batch_size, 1, None),
            truncation=truncation,
            normalize=normalize,
            output_dtype=output_dtype,
        )

    def _prefix(self, prompt_name: str | None, prompt: str | None) -> str:
        manifest = self._model.bundle.manifest
        return choose_prompt(manifest.prompts, manifest.default_prompt, prompt_name, prompt)

    def _fingerprint_of(self, settings: steps.Settings) -> Fingerprint:
        return fingerprint_of(self._model.bundle.manifest, self.precision, settings.max_length)

    def _first_prompt(self, *names: str) -> str | None:
        return next((name for name in names if name in self._model.bundle.manifest.prompts), None)

    def _checked_length(self, name: str, value: int) -> int:
        # A text of special tokens alone would say nothing.
        model = self._model
        return require_range(name, value, model.tokenizer.special_tokens + 1, model.bundle.manifest.model.max_tokens)


def _require_rows_of_tokens(settings: steps.Settings) -> None:
    if settings.truncation == "mean":
        raise InputError("truncation 'mean' averages windows, and token embeddings are not averaged; use another")
    if settings.output_dtype not in ("float32", "float16"):
        raise InputError(f"output_dtype {settings.output_dtype} is for vectors of texts; tokens are float32 or float16")
