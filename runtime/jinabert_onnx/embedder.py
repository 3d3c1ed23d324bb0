"""The public class: text -> tokens -> batches -> session -> pooling -> vectors.

Checks what is asked for and composes the other modules; holds no arithmetic of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Literal, NoReturn, Unpack, cast, overload

from .bundle.fingerprint import Fingerprint, fingerprint_of
from .bundle.manifest import Bundle
from .encoding import late_chunking, loading, steps, streaming, vector_types
from .encoding.load_options import LoadOptions
from .encoding.loaded_model import LoadedModel
from .encoding.options import BATCH_SIZE, EncodeOptions, TextOptions, VectorOptions, expand_options, require_known
from .encoding.pooling import Vectors
from .encoding.results import Chunks, Embeddings
from .encoding.settings import Settings, require_length, require_rows_of_tokens, resolve_settings
from .encoding.tokenized import tokenize
from .encoding.vector_types import AnyVectors
from .engine.cancellation import Limits
from .engine.kernels import Kernels
from .engine.threads import SharedThreads
from .errors import InputError, InputTypeError
from .progress import Progress
from .text.inputs import as_stream, as_texts, choose_prompt, require_range

DOCUMENT_PROMPTS = ("document", "passage", "corpus")  # names that a bundle's prompt for documents may have

Spans = Iterable[tuple[int, int]] | Callable[[str], Iterable[tuple[int, int]]] | str


class Embedder:
    """A loaded bundle that turns text into vectors. Make one with `Embedder.load`.

    Any number of threads may call it at once. A forked child must load its own. `close` it, or use it in a `with`
    statement, to release its memory before Python does.
    """

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
    ) -> Embedder:
        """Load a bundle made by `jinabert-onnx export`, checking its files and what it computes here.

        Args:
            source: directory of the bundle, or the hub id (owner/name) of one.
            precision: "fp32", "fp16" or "int8", the weights and the arithmetic; "auto" picks what is fast here.
            provider: "cpu", "cuda" (or an error that says why not) or "auto".
            threads: CPU threads of one operator; "auto" takes what affinity, container and environment allow; a
                `SharedThreads` is shared with other Embedders.
            max_memory: limit of main memory (not of a GPU) in bytes, or a str such as "800MB": batches are made to fit,
                and a text that cannot fit is refused. Default: no limit.
            integrity: "full" compares the SHA-256 of every file read with the manifest; "fast" does it once and then
                looks at sizes, times and headers; "off" trusts the files.
            self_test: embed a few short texts and compare their vectors with those of the export.
            revision: branch, tag or commit, for a hub id only.
            local_files_only: never ask the hub; a hub id must have been downloaded before.
            kernels: "auto" lets the native kernels of `jinabert-onnx-kernels` compute attention on the CPU if they are
                installed and fit (or as the variable JINABERT_ONNX_KERNELS says), "off" does not, "require" refuses to
                load without them, and takes the CPU where `provider` is "auto".

        Raises:
            BundleError: not a bundle, damaged, of another schema, or without this precision.
            DownloadError: the hub id cannot be fetched.
            ProviderError: the provider is not available, or cannot run this precision.
            KernelsError: native kernels are required, and none can run.
            SelfTestError: the model computes different vectors here than where it was exported.
            MemoryLimitError: the model alone takes more than `max_memory`.
            InputError: an argument is out of range.
            MissingDependencyError: onnxruntime is not installed.
        """
        options = LoadOptions(
            precision, provider, threads, max_memory, integrity, self_test, revision, local_files_only, kernels
        )
        opened = loading.open_model(source, options)
        embedder = cls(opened.model, opened.precision_reason)
        if self_test:
            loading.self_test(opened.model, lambda texts: embedder.encode(texts, truncation="head", prompt=""))
        return embedder

    def __enter__(self) -> Embedder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        path = self.bundle.path.absolute()
        raise InputTypeError(
            f"an Embedder cannot be pickled or copied; send its path ({path}) and load it there with Embedder.load"
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
        """Return what computes attention: a native kernel, or the graph's own operators; and why."""
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
        """Return the vector space of this model at its `max_seq_length`, and the precision; see `compatible`."""
        return fingerprint_of(self._model.bundle.manifest, self.precision, self._max_seq_length)

    @property
    def default_prompt(self) -> str:
        """Return the prompt that `encode` puts before each text by default; the jina v2 family has none."""
        manifest = self._model.bundle.manifest
        return choose_prompt(manifest.prompts, manifest.default_prompt, None, None)

    @property
    def max_seq_length(self) -> int:
        """Return the number of tokens, special ones included, that `encode` cuts to unless `max_length` is given.

        It can be set, to more than the special tokens and at most the model's limit; other values are an InputError.
        """
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        self._max_seq_length = require_length(self._model, "max_seq_length", value)

    def get_sentence_embedding_dimension(self) -> int:
        """Return the number of channels of a vector."""
        return self._model.bundle.manifest.dimensions

    def count_tokens(self, sentences: str | Iterable[str]) -> list[int]:
        """Count the tokens of each text before any cut, special tokens included.

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
        output_value: Literal["sentence_embedding"] = ...,
        **options: Unpack[TextOptions],
    ) -> AnyVectors: ...

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        batch_size: int = ...,
        *,
        output_value: Literal["token_embeddings"],
        **options: Unpack[TextOptions],
    ) -> AnyVectors | list[AnyVectors]: ...

    @expand_options(EncodeOptions)
    def encode(
        self,
        sentences: str | Iterable[str],
        batch_size: int = BATCH_SIZE,
        *,
        output_value: str = "sentence_embedding",
        **options: Unpack[TextOptions],
    ) -> AnyVectors | list[AnyVectors]:
        """Embed texts; the result is in the order of the input.

        Args:
            sentences: one text, or any iterable of texts.
            output_value: "sentence_embedding", or "token_embeddings" for one row per token.
            options: those of `EncodeOptions`.

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
        of_tokens = output_value == "token_embeddings"
        settings, limits = self._resolve("encode", {**options, "batch_size": batch_size}, of_tokens=of_tokens)
        if of_tokens:
            require_rows_of_tokens(settings)
        elif output_value != "sentence_embedding":
            raise InputError(f"output_value {output_value!r} is neither 'sentence_embedding' nor 'token_embeddings'")
        texts = tokenize(self._model.tokenizer, as_texts(sentences), settings)
        compute = steps.token_rows if of_tokens else steps.vectors_of
        with Progress(len(texts.reports), "texts", options.get("show_progress_bar")) as progress:
            result = compute(self._model, texts, settings, limits, progress.advance)
        return result[0] if isinstance(sentences, str) else result

    @expand_options(EncodeOptions, truncation="head")
    def encode_with_report(self, sentences: str | Iterable[str], **options: Unpack[EncodeOptions]) -> Embeddings:
        """Embed texts, and report each one's tokens, those cut off and where, and the vectors' fingerprint.

        Errors are those of `encode`; the vectors are (n, dimensions) for one text too. The report shows cuts; there is
        no warning unless `truncation` is "warn".

        Args:
            sentences: one text, or any iterable of texts.
            options: those of `EncodeOptions`.
        """
        settings, limits = self._resolve("encode_with_report", {"truncation": "head", **options})
        texts = tokenize(self._model.tokenizer, as_texts(sentences), settings, count_dropped=True)
        with Progress(len(texts.reports), "texts", options.get("show_progress_bar")) as progress:
            vectors = steps.vectors_of(self._model, texts, settings, limits, progress.advance)
        fingerprint = fingerprint_of(self._model.bundle.manifest, self.precision, settings.max_length)
        return Embeddings(vectors, texts.reports, fingerprint, self.kernels.attention)

    @expand_options(EncodeOptions)
    def encode_stream(
        self,
        sentences: Iterable[str],
        *,
        look_ahead: int = 1024,
        total: int | None = None,
        **options: Unpack[EncodeOptions],
    ) -> Iterator[AnyVectors]:
        """Embed a stream of any length in constant memory: one vector (hidden,) per text, in the order of the input.

        Errors are those of `encode`; `timeout` covers the whole stream.

        Args:
            sentences: any iterable of texts.
            look_ahead: maximum number of texts to take at once, which are sorted by length and run together.
            total: number of texts to expect, for the time left; by default the length of `sentences`, if it has one.
            options: those of `EncodeOptions`.
        """
        settings, limits = self._resolve("encode_stream", options)
        texts = as_stream(sentences)
        if total is None and isinstance(texts, Sized):
            total = len(texts)
        total = total if total is None else require_range("total", total, 0, None)
        progress = Progress(total, "texts", options.get("show_progress_bar"))
        look_ahead = require_range("look_ahead", look_ahead, 1, None)
        return streaming.stream(self._model, texts, settings, limits, look_ahead, progress)

    @expand_options(VectorOptions)
    def encode_chunks(
        self, text: str, spans: Spans = "sentences", *, overlap: int | None = None, **options: Unpack[VectorOptions]
    ) -> Chunks:
        """Late chunking: read the whole text once, then give each span the mean of its own tokens in that context.

        Special tokens belong to no span: one over the whole text is close to `encode`, not equal. A prompt is put
        before each window and belongs to no span either.

        Args:
            text: one text of any length; beyond `max_seq_length` tokens it is read in overlapping windows, and each
                token is taken from the window in which it is further from an edge.
            spans: pairs (start, end) of characters, "sentences", or a function that gives such pairs for the text.
            overlap: tokens that neighbouring windows share; default 512, or a quarter of a smaller window.
            options: those of `VectorOptions`.

        Raises:
            InputError, InputTypeError: a span is empty, out of range or without a token; the model does not use mean
                pooling.
            What `encode` raises.
        """
        settings, limits = self._resolve("encode_chunks", cast(EncodeOptions, options), VectorOptions)
        vectors, resolved = late_chunking.encode_chunks(self._model, text, spans, overlap, settings, limits)
        return Chunks(vectors, resolved, self.fingerprint)

    @expand_options(EncodeOptions)
    def encode_query(self, sentences: str | Iterable[str], **options: Unpack[EncodeOptions]) -> AnyVectors:
        """Embed texts to search with: `encode` with the bundle's prompt for queries, if it has one.

        The jina v2 family has none, and one that is given takes its place. Result and errors are those of `encode`.

        Args:
            sentences: one text, or any iterable of texts.
            options: those of `EncodeOptions`.
        """
        require_known("encode_query", options)
        return self.encode(sentences, **self._with_prompt(options, "query"))

    @expand_options(EncodeOptions)
    def encode_document(self, sentences: str | Iterable[str], **options: Unpack[EncodeOptions]) -> AnyVectors:
        """Embed texts to be found: `encode` with the bundle's prompt for documents, if it has one.

        The jina v2 family has none, and one that is given takes its place. Result and errors are those of `encode`.

        Args:
            sentences: one text, or any iterable of texts.
            options: those of `EncodeOptions`.
        """
        require_known("encode_document", options)
        return self.encode(sentences, **self._with_prompt(options, *DOCUMENT_PROMPTS))

    @staticmethod
    def similarity(first: AnyVectors, second: AnyVectors, output_dtype: str = "float32") -> Vectors:
        """Compute the cosine of every row of `first` (n, width) with every row of `second` (m, width): float32 (n, m).

        `output_dtype` is what the vectors were made with; any floating type will do for "float32". For binary types it
        is the cosine of vectors of -1 and 1. See `vector_types.similarity`.
        """
        return vector_types.similarity(first, second, output_dtype)

    def _resolve(
        self, method: str, options: EncodeOptions, declaration: type = EncodeOptions, of_tokens: bool = False
    ) -> tuple[Settings, Limits]:
        """Check what a call of `method` asks for, before anything is tokenized, and start its clock."""
        require_known(method, options, declaration)
        self._model.session.require_usable()
        limits = Limits(options.get("timeout"), options.get("cancellation"))
        settings = resolve_settings(self._model, options, self._max_seq_length, of_tokens)
        limits.check()
        return settings, limits

    def _with_prompt(self, options: EncodeOptions, *names: str) -> EncodeOptions:
        """Return options with the first of these prompts that the bundle has, unless they name one."""
        if options.get("prompt") is not None or options.get("prompt_name") is not None:
            return options
        held = self._model.bundle.manifest.prompts
        return {**options, "prompt_name": next((name for name in names if name in held), None)}
