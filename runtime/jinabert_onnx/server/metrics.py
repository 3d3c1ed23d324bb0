"""The metrics of a server, for Prometheus. One registry a server; knows only counts and times of requests."""

from __future__ import annotations

from collections.abc import Callable

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

    def __init__(self, model: dict[str, str], waiting: Callable[[], int]) -> None:
        """Describe what really runs by `model`; `waiting` returns how many tokens wait."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU time, open files; Linux only
        Info("jinabert_onnx_model", "What runs", registry=registry).info(model)
        self._requests = Counter("jinabert_onnx_requests", "Answered requests", ["route", "status"], registry=registry)
        self._seconds = Histogram(
            "jinabert_onnx_request_seconds", "From headers to answer", ["route"], buckets=_SECONDS, registry=registry
        )
        self._texts = Counter("jinabert_onnx_texts", "Embedded rows of tokens", registry=registry)
        self._tokens = Counter("jinabert_onnx_tokens", "Embedded tokens", registry=registry)
        self._queue = Histogram(
            "jinabert_onnx_queue_seconds", "From request to its batch", buckets=_SECONDS, registry=registry
        )
        self._batch_rows = Histogram("jinabert_onnx_batch_rows", "Rows of a batch", buckets=_COUNTS, registry=registry)
        self._batch_tokens = Histogram(
            "jinabert_onnx_batch_tokens", "Tokens of a batch", buckets=_TOKENS, registry=registry
        )
        self._batch_seconds = Histogram(
            "jinabert_onnx_batch_seconds", "Time of a batch", buckets=_SECONDS, registry=registry
        )
        self.open_requests = Gauge("jinabert_onnx_open_requests", "Requests without an answer yet", registry=registry)
        queued = Gauge("jinabert_onnx_queued_tokens", "Tokens that wait or run", registry=registry)
        queued.set_function(waiting)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, rows: int, tokens: int, seconds: float) -> None:
        """Count a batch that ran."""
        self._texts.inc(rows)
        self._tokens.inc(tokens)
        self._batch_rows.observe(rows)
        self._batch_tokens.observe(tokens)
        self._batch_seconds.observe(seconds)

    def waited(self, seconds: float) -> None:
        """Count a row, and the time it waited before it ran."""
        self._queue.observe(seconds)

    def page(self) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self._registry)
