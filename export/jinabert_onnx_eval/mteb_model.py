"""The documented name of `mteb.model`."""

from .mteb.model import BundleEncoder

__all__ = ["BundleEncoder"]
