"""The user's texts, and what is made of them."""

from .read import read_texts

__all__ = ["read_texts"]
