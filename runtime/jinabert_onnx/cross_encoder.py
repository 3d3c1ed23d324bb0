"""The public class for rerankers and classifiers: pairs of texts -> tokens -> batches -> session -> scores.

Checks what is asked for and composes the other modules; holds no arithmetic of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Unpack

from .bundle.fingerprint import fingerprint_of
from .bundle.score_agreement import Logits
from .encoding.options import BATCH_SIZE, expand_options, require_known
from .encoding.self_test import require_logits_of_export
from .encoding.streaming import Stream
from .engine.cancellation import Limits
from .errors import TruncationWarning
from .model import Model
from .progress import Progress
from .scoring import ranking, steps
from .scoring.options import (
    MAX_LENGTH,
    MAX_QUERY_LENGTH,
    OVERLAP_TOKENS,
    PairOptions,
    PairSettings,
    PredictOptions,
    RankOptions,
    resolve_pair_settings,
)
from .scoring.results import Predictions, RankedDocument, Scores
from .text.inputs import count_ahead, require_range
from .text.pairs import TextOrPair, as_input, as_pair_stream, as_pairs, characters_of


class CrossEncoder(Model):
    """A loaded bundle of a reranker or classifier, which scores pairs of texts. Make one with `CrossEncoder.load`.

    Threads, forked children and `close` are as for an `Embedder`.

    A reranker reads query and document together: slower than comparing vectors, and finer. Let an `Embedder` find some
    dozens of documents, and `rank` order them.
    """

    _named, _scores = "a CrossEncoder", True

    def require_export_results(self) -> None:
        """Return if the few pairs that the bundle holds for it give here what they gave at export, as `load` checks.

        Raises:
            SelfTestError: they do not.
        """
        require_logits_of_export(self.loaded, self.logits)

    def logits(self, pairs: Iterable[TextOrPair]) -> Logits:
        """Compute logits (n, labels) of pairs or texts, which are cut without a warning where they are too long.

        Raises:
            What `predict` raises.
        """
        predicted = self.predict(pairs, raw_scores=True, truncation="head")
        return predicted.reshape(len(predicted), len(self.labels))

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the names of the labels, in the order of the scores."""
        return steps.classifier_of(self.loaded).labels

    @property
    def activation(self) -> str:
        """Return what turns logits into scores: "sigmoid", "softmax" or "identity"."""
        return steps.classifier_of(self.loaded).activation

    @expand_options(PredictOptions)
    def predict(
        self, pairs: TextOrPair | Iterable[TextOrPair], batch_size: int = BATCH_SIZE, **options: Unpack[PairOptions]
    ) -> Scores:
        """Score pairs of texts, or single texts; the result is in the order of the input.

        Args:
            pairs: a tuple of two texts (for a reranker query and document), or one text, or any iterable of those.
            options: those of `PredictOptions`.

        Returns:
            float32 (n,) of a model with one label, else (n, labels); for one pair or text a scalar, or (labels,). A
            pair's score does not depend on those it runs beside, beyond rounding.

        Raises:
            InputTypeError: an input is neither a text nor two; its index is named.
            InputError: an argument is out of range, or a text is not valid Unicode.
            TruncationError: a pair is too long, and `truncation` is "error".
            MemoryLimitError: a pair does not fit into `max_memory`; nothing was run.
            CancelledError, DeadlineError: the call was ended; the CrossEncoder can be used again.
            StateError: the CrossEncoder is closed, was loaded before the process forked, or its bundle was overwritten.
        """
        settings, limits = self._resolve("predict", {**options, "batch_size": batch_size})
        given, alone = as_pairs(pairs)
        rows = steps.read_pairs(self.loaded.tokenizer, given, settings)
        with Progress(len(rows), "pairs", options.get("show_progress_bar")) as progress:
            scores = steps.predict(self.loaded, rows, settings, limits, progress.advance)
        return scores[0] if alone else scores

    @expand_options(PredictOptions, truncation="head")
    def predict_with_report(
        self, pairs: TextOrPair | Iterable[TextOrPair], **options: Unpack[PredictOptions]
    ) -> Predictions:
        """Score pairs, and report each one's tokens, those cut off and where, and the fingerprint of the scores.

        Errors are those of `predict`; scores are (n,) or (n, labels) for one pair too. The report shows cuts; there is
        no warning unless `truncation` is "warn".

        Args:
            pairs: as for `predict`.
            options: those of `PredictOptions`.
        """
        settings, limits = self._resolve("predict_with_report", {"truncation": "head", **options})
        given, _ = as_pairs(pairs)
        tokenizer = self.loaded.tokenizer
        rows = steps.read_pairs(tokenizer, given, settings, count_dropped=True)
        with Progress(len(rows), "pairs", options.get("show_progress_bar")) as progress:
            scores = steps.predict(self.loaded, rows, settings, limits, progress.advance)
        reports = tuple(steps.report_of(tokenizer, pair, row) for pair, row in zip(given, rows, strict=True))
        fingerprint = fingerprint_of(self.bundle.manifest, self.precision, settings.max_length)
        return Predictions(scores, reports, fingerprint, self.kernels.attention, self.kernels.layers)

    @expand_options(PredictOptions)
    def predict_stream(
        self,
        pairs: TextOrPair | Iterable[TextOrPair],
        *,
        look_ahead: int = 1024,
        total: int | None = None,
        **options: Unpack[PredictOptions],
    ) -> Iterator[Scores]:
        """Score a stream of pairs of any length in constant memory: one score, or (labels,), per pair, in order.

        Errors are those of `predict`; `timeout` covers the whole stream.

        Args:
            pairs: as for `predict`.
            look_ahead: maximum number of pairs to take at once, which are sorted by length and run together.
            total: number of pairs to expect, for the time left; by default the length of `pairs`, if it has one.
            options: those of `PredictOptions`.
        """
        settings, limits = self._resolve("predict_stream", options)
        given = as_pair_stream(pairs)
        look_ahead = require_range("look_ahead", look_ahead, 1, None)
        progress = Progress(count_ahead(given, total), "pairs", options.get("show_progress_bar"))

        def compute(taken: list[TextOrPair], first: int) -> Scores:
            rows = steps.read_pairs(self.loaded.tokenizer, taken, settings, first=first)
            return steps.predict(self.loaded, rows, settings, limits, progress.advance)

        checked = (as_input(pair, index) for index, pair in enumerate(given))
        return Stream("pair", characters_of, compute).run(checked, limits, look_ahead, progress)

    @expand_options(RankOptions)
    def rank(
        self,
        query: str,
        documents: Iterable[str],
        top_n: int | None = None,
        return_documents: bool = False,
        max_length: int = MAX_LENGTH,
        max_query_length: int = MAX_QUERY_LENGTH,
        overlap_tokens: int = OVERLAP_TOKENS,
        **options: Unpack[RankOptions],
    ) -> list[RankedDocument]:
        """Order documents by how well they fit a query, the best first, equal ones by index.

        A document that does not fit beside the query into `max_length`, or the smaller `max_seq_length`, is read in
        overlapping windows, and its best window counts, as in the `rerank` of jina-reranker-v2.

        Args:
            query: one text.
            documents: any iterable of texts; an empty text has a score too.
            top_n: how many to return; default: all.
            return_documents: whether results hold the texts.
            max_length: tokens of the query with a window, special ones included; at least twice `max_query_length`.
            max_query_length: tokens that the query is cut to, with a TruncationWarning.
            overlap_tokens: tokens that neighbouring windows share, at most a quarter of a window.
            options: those of `RankOptions`.

        Raises:
            InputTypeError, InputError: an argument is not usable, or the model has more than one label.
            What `predict` raises.
        """
        limits = self._start("rank", options, RankOptions)
        ranking.require_one_label(self.labels)
        texts = ranking.require_texts(query, documents)
        lengths = ranking.Lengths(max_length, max_query_length, overlap_tokens).within(self._max_seq_length)
        top_n = None if top_n is None else require_range("top_n", top_n, 1, None)
        batch_size = require_range("batch_size", options.get("batch_size", BATCH_SIZE), 1, None)
        question = ranking.read_query(self.loaded.tokenizer, query, lengths)
        if question.was_cut:
            warnings.warn(f"the query was cut to {lengths.max_query_length} tokens", TruncationWarning, stacklevel=2)
        windows = ranking.split_documents(question, self.loaded.tokenizer.bare(texts))
        with Progress(len(windows.owners), "windows", options.get("show_progress_bar")) as progress:
            logits = steps.logits_of(
                self.loaded, windows.input_ids, windows.token_type_ids, batch_size, limits, progress.advance
            )
        best = ranking.best_of_windows(logits[:, 0], windows.owners, len(texts))
        scores = steps.scores_of(self.loaded, best[:, None], raw_scores=False)
        return ranking.in_order(best, scores, texts, top_n, return_documents)

    def _resolve(self, method: str, options: PredictOptions) -> tuple[PairSettings, Limits]:
        """Check what a call of `method` asks for, before anything is tokenized, and start its clock."""
        limits = self._start(method, options, PredictOptions)
        return resolve_pair_settings(self.loaded, options, self._max_seq_length), limits

    def _start(self, method: str, options: PredictOptions | RankOptions, declaration: type) -> Limits:
        require_known(method, options, declaration)
        self.loaded.session.require_usable()
        limits = Limits(options.get("timeout"), options.get("cancellation"))
        limits.check()
        return limits
