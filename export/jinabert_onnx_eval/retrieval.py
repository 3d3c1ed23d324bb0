"""The documented name of `metrics.retrieval`."""

from .metrics.retrieval import measure_retrieval

__all__ = ["measure_retrieval"]
