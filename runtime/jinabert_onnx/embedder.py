"""The public class: text -> tokens -> batches -> session -> pooling -> vectors.

Checks what is asked for and composes the other modules; holds no arithmetic of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Unpack, cast, overload

from .bundle.fingerprint import fingerprint_of
from .encoding import steps, vector_types
from .encoding.options import BATCH_SIZE, EncodeOptions, TextOptions, VectorOptions, expand_options, require_known
from .encoding.pooling import Vectors
from .encoding.results import Chunks, Embeddings
from .encoding.self_test import require_vectors_of_export
from .encoding.settings import Settings, require_rows_of_tokens, resolve_settings
from .encoding.streaming import Stream
from .encoding.tokenized import tokenize
from .encoding.vector_types import AnyVectors
from .engine.cancellation import Limits
from .errors import InputError
from .model import Model
from .progress import Progress
from .text.inputs import as_stream, as_text, as_texts, choose_prompt, count_ahead, require_range

DOCUMENT_PROMPTS = ("document", "passage", "corpus")  # names that a bundle's prompt for documents may have

Spans = Iterable[tuple[int, int]] | Callable[[str], Iterable[tuple[int, int]]] | str


class Embedder(Model):
    """A loaded bundle that turns text into vectors. Make one with `Embedder.load`.

    Any number of threads may call it at once. A forked child must load its own. `close` it, or use it in a `with`
    statement, to release its memory before Python does.
    """

    _named, _scores = "an Embedder", False

    def require_export_results(self) -> None:
        """Return if the few texts that the bundle holds for it give here what they gave at export, as `load` checks.

        Raises:
            SelfTestError: they do not.
        """
        require_vectors_of_export(self.loaded, lambda texts: self.encode(texts, truncation="head", prompt=""))

    @property
    def default_prompt(self) -> str:
        """Return the prompt that `encode` puts before each text by default; the jina v2 family has none."""
        manifest = self._model.bundle.manifest
        return choose_prompt(manifest.prompts, manifest.default_prompt, None, None)

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
        return Embeddings(vectors, texts.reports, fingerprint, self.kernels.attention, self.kernels.layers)

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
        look_ahead = require_range("look_ahead", look_ahead, 1, None)
        progress = Progress(count_ahead(texts, total), "texts", options.get("show_progress_bar"))

        def compute(taken: list[str], first: int) -> AnyVectors:
            tokenized = tokenize(self._model.tokenizer, taken, settings, first=first)
            return steps.vectors_of(self._model, tokenized, settings, limits, progress.advance)

        checked = (as_text(text, index) for index, text in enumerate(texts))
        return Stream("text", len, compute).run(checked, limits, look_ahead, progress)

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
        from .encoding import late_chunking  # with lists of abbreviations, which nothing else here needs

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
