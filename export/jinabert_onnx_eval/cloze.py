"""The documented name of `texts.cloze`."""

from .texts.cloze import Corpus, make_corpus

__all__ = ["Corpus", "make_corpus"]
