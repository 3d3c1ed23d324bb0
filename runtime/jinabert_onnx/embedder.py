"""The public class: text -> tokens -> batches -> session -> pooling -> vectors.

Composes the other modules and holds no arithmetic of its own.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from . import pooling
from .batching import TOKEN_BUDGETS, pad, plan_batches
from .bundle import METADATA_FILES, TOKENIZER, Bundle, check_files, open_bundle
from .errors import InputError, TruncationWarning
from .fitting import require_fitting
from .hub import is_hub_id, resolve
from .inputs import as_texts, choose_prompt, require_range
from .pooling import Vectors
from .progress import Progress
from .session import Session
from .tokenizer import TokenizedTexts, Tokenizer


class Embedder:
    """A loaded bundle that turns text into vectors. Make one with `Embedder.load`."""

    def __init__(self, bundle: Bundle, precision: str, tokenizer: Tokenizer, session: Session) -> None:
        self._bundle = bundle
        self._tokenizer = tokenizer
        self._session = session
        self.precision = precision
        self._max_seq_length = bundle.manifest.default_max_length

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        *,
        precision: str = "fp32",
        provider: str = "auto",
        threads: int | None = None,
        revision: str | None = None,
        self_test: bool = True,
    ) -> Embedder:
        """Load a bundle made by `jinabert-onnx export`, checking the SHA-256 of the files it reads.

        Args:
            source: directory of the bundle, or the hub id (owner/name) of one.
            precision: "fp32", "fp16" or "int8": the weights and the arithmetic.
            provider: "cpu", "cuda" (or an error that says why not) or "auto".
            threads: CPU threads of one operator; default all CPUs this process may use.
            revision: branch, tag or commit, for a hub id only.

        Raises:
            BundleError: not a bundle, damaged, of a newer schema, or without this precision.
            DownloadError: the hub id cannot be fetched.
            ProviderError: the provider cannot be had, or cannot run this precision.
            InputError: an argument is out of range.
            MissingDependencyError: onnxruntime is not installed.
        """
        bundle = open_bundle(resolve(source, revision, METADATA_FILES))
        files = bundle.files_of(precision)
        if is_hub_id(source):  # only this precision's weights, of the very commit that the manifest is from
            resolve(source, bundle.path.name, files)
        check_files(bundle, [TOKENIZER, *files])
        tokenizer = Tokenizer(bundle.path / TOKENIZER)
        session = Session(bundle.path / files[0], precision, provider, threads)
        require_fitting(bundle, tokenizer, session)
        return cls(bundle, precision, tokenizer, session)

    @property
    def bundle(self) -> Bundle:
        """The bundle's place and manifest."""
        return self._bundle

    @property
    def provider(self) -> str:
        """The execution provider that really runs: "cpu" or "cuda"."""
        return self._session.provider

    @property
    def threads(self) -> int:
        """CPU threads of one operator."""
        return self._session.threads

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
        return self._bundle.manifest.model.hidden_size

    def count_tokens(self, sentences: str | Iterable[str]) -> list[int]:
        """Tokens of each text before any cut, special tokens included.

        Raises:
            InputTypeError: a text is not a str.
            InputError: a text is not valid Unicode.
        """
        tokens = self._tokenizer(as_texts(sentences), self._bundle.manifest.model.max_tokens)
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
        prompt_name: str | None = ...,
        prompt: str | None = ...,
    ) -> Vectors: ...

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
        prompt_name: str | None = ...,
        prompt: str | None = ...,
    ) -> Vectors | list[Vectors]: ...

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
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> Vectors | list[Vectors]:
        """Embed texts; the result is in the order of the input.

        Args:
            sentences: one text, or any iterable of texts.
            batch_size: most texts that run together; fewer where they are long (512 tokens in all on a CPU).
            show_progress_bar: True, False, or None for a bar on a terminal when the work takes long.
            output_value: "sentence_embedding", or "token_embeddings" for one row a token.
            normalize_embeddings: scale each vector to length 1 (default as the model's own `encode`: no).
            max_length: tokens, special ones included, to cut each text to; default `max_seq_length`.
                A cut is reported by a `TruncationWarning`.
            truncate_dim: keep the first channels only, before normalising.
            prompt_name: name of one of the bundle's prompts to put before each text.
            prompt: text to put before each text.

        Returns:
            float32: (hidden,) for one text, (n, hidden) for n; for "token_embeddings" (tokens, hidden)
            for one text, a list of those for several. Int8 vectors depend slightly on the texts they
            run beside (cosine about 0.999); fp32 and fp16 vectors do not beyond rounding.

        Raises:
            InputTypeError: a text is not a str; its index is named.
            InputError: an argument is out of range, or a text is not valid Unicode.
        """
        if output_value not in ("sentence_embedding", "token_embeddings"):
            raise InputError(f"output_value {output_value!r} is neither 'sentence_embedding' nor 'token_embeddings'")
        hidden = self.get_sentence_embedding_dimension()
        dimensions = hidden if truncate_dim is None else require_range("truncate_dim", truncate_dim, 1, hidden)
        manifest = self._bundle.manifest
        prefix = choose_prompt(manifest.prompts, manifest.default_prompt, prompt_name, prompt)
        texts = [prefix + text for text in as_texts(sentences)]
        tokens = self._tokenize(texts, max_length)
        batches = self._run(tokens, require_range("batch_size", batch_size, 1, None), show_progress_bar)
        if output_value == "token_embeddings":
            rows = _by_token(batches, len(texts), dimensions, normalize_embeddings)
            return rows[0] if isinstance(sentences, str) else rows
        vectors = self._by_text(batches, len(texts), dimensions, normalize_embeddings)
        return vectors[0] if isinstance(sentences, str) else vectors

    def encode_query(
        self,
        sentences: str | Iterable[str],
        *,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        normalize_embeddings: bool = False,
        max_length: int | None = None,
        truncate_dim: int | None = None,
    ) -> Vectors:
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
            prompt_name=self._first_prompt("query"),
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
    ) -> Vectors:
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
            prompt_name=self._first_prompt("document", "passage", "corpus"),
        )

    @staticmethod
    def similarity(first: Vectors, second: Vectors) -> Vectors:
        """Cosine of every row of `first` (n, hidden) with every row of `second` (m, hidden): (n, m)."""
        return pooling.cosine_similarity(first, second)

    def _first_prompt(self, *names: str) -> str | None:
        return next((name for name in names if name in self._bundle.manifest.prompts), None)

    def _checked_length(self, name: str, value: int) -> int:
        # A text of special tokens alone would say nothing.
        return require_range(name, value, self._tokenizer.special_tokens + 1, self._bundle.manifest.model.max_tokens)

    def _tokenize(self, texts: list[str], max_length: int | None) -> TokenizedTexts:
        length = self._max_seq_length if max_length is None else self._checked_length("max_length", max_length)
        tokens = self._tokenizer(texts, length)
        cut = [index for index, dropped in enumerate(tokens.dropped) if dropped]
        if cut:
            warnings.warn(
                f"{len(cut)} of {len(texts)} texts were cut to {length} tokens "
                f"(the first: text {cut[0]}, {tokens.dropped[cut[0]]} tokens lost)",
                TruncationWarning,
                stacklevel=3,
            )
        return tokens

    def _run(
        self, tokens: TokenizedTexts, batch_size: int, show_progress_bar: bool | None
    ) -> Iterator[tuple[NDArray[np.intp], Vectors, NDArray[np.int64]]]:
        """Yield (indices of the texts, token embeddings (batch, sequence, hidden), attention mask)."""
        lengths = [len(ids) for ids in tokens.input_ids]
        plan = plan_batches(lengths, batch_size, TOKEN_BUDGETS[self.provider])
        with Progress(len(tokens.input_ids), "texts", show_progress_bar) as progress:
            for indices in plan:
                input_ids, attention_mask = pad([tokens.input_ids[index] for index in indices])
                yield indices, self._session.run(input_ids, attention_mask), attention_mask
                progress.advance(len(indices))

    def _by_text(
        self,
        batches: Iterator[tuple[NDArray[np.intp], Vectors, NDArray[np.int64]]],
        count: int,
        dimensions: int,
        normalize: bool,
    ) -> Vectors:
        settings = self._bundle.manifest.pooling
        vectors = np.empty((count, dimensions), dtype=np.float32)
        for indices, token_embeddings, attention_mask in batches:
            pooled = pooling.pool(token_embeddings, attention_mask, settings.mode)  # (batch, hidden)
            if settings.normalize:
                pooled = pooling.normalize(pooled)
            pooled = pooled[:, :dimensions]
            vectors[indices] = pooling.normalize(pooled) if normalize else pooled
        return vectors


def _by_token(
    batches: Iterator[tuple[NDArray[np.intp], Vectors, NDArray[np.int64]]],
    count: int,
    dimensions: int,
    normalize: bool,
) -> list[Vectors]:
    rows: list[Vectors] = [np.empty((0, dimensions), dtype=np.float32)] * count
    for indices, token_embeddings, attention_mask in batches:
        for index, tokens, mask in zip(indices, token_embeddings, attention_mask, strict=True):
            kept = tokens[: mask.sum(), :dimensions]  # (tokens, dimensions)
            rows[index] = pooling.normalize(kept) if normalize else kept.copy()
    return rows
