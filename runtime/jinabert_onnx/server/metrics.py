"""The metrics of a server, for Prometheus. One registry a server; knows only counts and times of requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


class Metrics:
    """Counters, gauges and histograms of one server."""

    def __init__(self, models: Sequence[dict[str, str]], waiting: Callable[[str], int]) -> None:
        """Describe what actually runs by `models`; `waiting` returns how many tokens wait for the one of a name."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU time, open files; Linux only
        info = Info("jinabert_onnx_model", "What runs", ["model"], registry=registry)
        queued = Gauge("jinabert_onnx_queued_tokens", "Tokens that wait or run", ["model"], registry=registry)
        for model in models:
            name = model["model"]
            info.labels(name).info({key: value for key, value in model.items() if key != "model"})
            queued.labels(name).set_function(partial(waiting, name))
        self._requests = Counter(
            "jinabert_onnx_requests", "Answered requests", ["model", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "jinabert_onnx_request_seconds",
            "From headers to answer",
            ["model", "route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._texts = Counter("jinabert_onnx_texts", "Rows of tokens that ran", ["model"], registry=registry)
        self._tokens = Counter("jinabert_onnx_tokens", "Tokens that ran", ["model"], registry=registry)
        self._queue = Histogram(
            "jinabert_onnx_queue_seconds", "From request to its batch", ["model"], buckets=_SECONDS, registry=registry
        )
        self._batch_rows = Histogram(
            "jinabert_onnx_batch_rows", "Rows of a batch", ["model"], buckets=_COUNTS, registry=registry
        )
        self._batch_tokens = Histogram(
            "jinabert_onnx_batch_tokens", "Tokens of a batch", ["model"], buckets=_TOKENS, registry=registry
        )
        self._batch_seconds = Histogram(
            "jinabert_onnx_batch_seconds", "Time of a batch", ["model"], buckets=_SECONDS, registry=registry
        )
        for name in (model["model"] for model in models):  # so that all are there before anything is counted
            for counter in (self._texts, self._tokens):
                counter.labels(name)
            for histogram in (self._queue, self._batch_rows, self._batch_tokens, self._batch_seconds):
                histogram.labels(name)
        self.open_requests = Gauge("jinabert_onnx_open_requests", "Requests without an answer yet", registry=registry)

    def answered(self, model: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request; `model` is empty where it was for none, or was refused before one was found."""
        self._requests.labels(model, route, str(status)).inc()
        self._seconds.labels(model, route).observe(seconds)

    def batch(self, model: str, rows: int, tokens: int, seconds: float) -> None:
        """Count a batch that ran."""
        self._texts.labels(model).inc(rows)
        self._tokens.labels(model).inc(tokens)
        self._batch_rows.labels(model).observe(rows)
        self._batch_tokens.labels(model).observe(tokens)
        self._batch_seconds.labels(model).observe(seconds)

    def waited(self, model: str, seconds: float) -> None:
        """Count a row, and the time it waited before it ran."""
        self._queue.labels(model).observe(seconds)

    def page(self) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self._registry)
