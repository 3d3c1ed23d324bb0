"""A bundle on disk: where it is, what it holds, whether it is whole."""

from .manifest import Manifest

__all__ = ["Manifest"]
