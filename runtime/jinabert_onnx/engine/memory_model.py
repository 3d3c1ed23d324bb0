"""A model of the memory of a process that runs a bundle on the CPU, from shapes, sizes and lengths.

It covers the resident memory of the whole process at its peak: interpreter, numpy, tokenizer, onnxruntime, weights,
and what one batch needs while it runs. `jinabert-onnx bench` compares it with processes. Left out
are the caller's texts, their token ids, the resulting vectors (4 bytes per channel), a GPU's memory, and other batches
that run at the same time. Knows nothing of sessions.
"""

from __future__ import annotations

import ctypes
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jinabert_onnx.bundle.manifest import TOKENIZER, Manifest
from jinabert_onnx.errors import InputError, InputTypeError, MemoryLimitError

_MEBIBYTE = 1 << 20
_MMAP_THRESHOLD = -3  # the number of this parameter in glibc's malloc.h
_FLOAT = 4  # bytes
_WIDTHS = {"fp32": 4, "fp16": 2, "int8": 1}  # bytes of a weight

# What a process holds before weights: 43 MiB of mapped libraries, 16 of interpreter and numpy, and what loading takes.
_PROCESS = 66 * _MEBIBYTE
# A layer's nodes, as onnxruntime holds them: of the packed graphs and of fp16's.
_LAYER = int(2.6 * _MEBIBYTE)
_HALF_LAYER = int(1.3 * _MEBIBYTE)
_TOKENIZER = 12  # bytes that the tokenizers package takes for one of tokenizer.json
_SELF_TEST = 30  # tokens that run while loading

# A table in a file of its own is read where tokens need it: Linux maps this much of a file around one access (and more
# where it cached the file in large pieces). Of n tokens of natural text about n to this power are different ones.
_MAPPED = 64 << 10
_DIFFERENT = 0.86

# The packed graphs (fp32, int8). Floats of one token and channel that are held at once inside a layer: residual, its
# normalised copy, Q, K and V together and apart, the context, by heads and joined.
_TOKEN = 6.5
_ROW = 4.0  # the same, for what texts side by side repeat for padding: Q, K, V and the context
_HEADS = 5.0  # the same, where texts come one after the other: also Q, K and V by heads
_SCORE = 1.5  # floats a pair of tokens and head of dense attention: the biases, and scores while threads compute them
_WINDOWED = 2.0  # floats a token and channel of the longest text in windows: scaled queries and contexts, by heads
_BOUNDS = 2.5  # floats a token and block of 64 keys in the certificate of the windows: gaps and bounds
_KEY_BLOCK = 64
_DENSE = 512  # longest text of dense attention; its square, most scores of a head of texts side by side
_PADDED = 3.0  # floats a place and channel of the padded output: zeros, filled, and numpy's copy
_LAST = 2.0  # floats a token and channel that are held beside it


@dataclass(frozen=True)
class _Native:
    """What a layer holds with native kernels.

    Attributes:
        nodes: bytes of its nodes, without the bodies of what native kernels compute.
        token: floats of one token and channel inside it, where its products hold the most at once.
    """

    nodes: int
    token: float


# With native attention, alone and with native layers, whose blocks of rows keep the inner width out of memory.
_NATIVE_ATTENTION = {"fp32": _Native(int(1.0 * _MEBIBYTE), 10.5), "int8": _Native(int(1.0 * _MEBIBYTE), 14.5)}
_NATIVE_LAYERS = _Native(int(0.4 * _MEBIBYTE), 6.5)

# Native layers pack their weights into pieces of memory of this size, whose pages are large where the system has them:
# the last page of each is partly filled.
_CHUNK = 32 * _MEBIBYTE
_LARGE_PAGE = 2 * _MEBIBYTE

# Packed keys and values of the longest text, in whole blocks of keys; and bytes for short texts side by side.
_PACKED = 2.0
_SHORT_TEXTS = 4 * _MEBIBYTE

# The fp16 graph works on padded batches; onnxruntime computes it in float32 on the CPU. Floats a place:
_HALF_CHANNEL = 12.0  # and channel
_HALF_WIDE = 5.5  # and channel of the feed-forward's inner width
_HALF_SCORE = 3.3  # and head and query of a block
_HALF_BLOCK = 128  # most queries of a block


@dataclass(frozen=True)
class MemoryModel:
    """Bytes of a process that runs one model, by the lengths of what runs. Make one with `memory_model`.

    Attributes:
        hidden_size, inner_size, heads: channels, inner width of the feed-forward, heads of attention.
        padded: whether the graph works on padded batches, as that of fp16 does.
        native: with native attention, floats of a token and channel that a layer holds at once; else None.
        permanent: bytes that stay from loading on.
        loading: bytes beyond these while loading, released afterwards.
        mapped: bytes of the embedding table, of which each token reads a part when it first occurs.
        casts: bytes of weights in float32 that each run makes, of fp16.
    """

    hidden_size: int
    inner_size: int
    heads: int
    padded: bool
    native: float | None
    permanent: int
    loading: int
    mapped: int
    casts: int

    def resident(self) -> int:
        """Compute the bytes that the process holds once the model is loaded and only the self-test has run."""
        return self.permanent + self._touched(_SELF_TEST)

    def beyond_process(self) -> int:
        """Compute how many of these bytes are the model's, and not the interpreter's and libraries'."""
        return self.resident() - _PROCESS

    def peak(self, lengths: Sequence[int]) -> int:
        """Compute the most bytes of a process that loads the model and runs a batch of texts of these lengths (tokens).

        Earlier batches do not add to it: their memory is used again.
        """
        run = self._run_padded(lengths) if self.padded else self._run_packed(lengths)
        return self.permanent + max(self.loading, self._touched(_SELF_TEST + sum(lengths)) + int(run * _FLOAT))

    def settled(self) -> MemoryModel:
        """Return the model after every token of the vocabulary has been used, as in a process that runs for long.

        The table's pages are those of an unchanged file: the system reclaims them before memory runs out, but they
        count as resident until then.
        """
        return replace(self, permanent=self.permanent + self.mapped, mapped=0)

    def _touched(self, tokens: int) -> int:
        """Estimate the bytes of the mapped table that `tokens` tokens read, their words spread over all of it."""
        return int(self.mapped * -math.expm1(-(tokens**_DIFFERENT) * _MAPPED / self.mapped)) if self.mapped else 0

    def _run_packed(self, lengths: Sequence[int]) -> float:
        """Count the floats of a batch without padding: inside the layers, or at the end when padding is put back."""
        longest, tokens = max(lengths), sum(lengths)
        places = len(lengths) * longest
        inside = self._inside_portable(lengths) if self.native is None else self._inside_native(lengths, self.native)
        return max(inside, (_PADDED * places + _LAST * tokens) * self.hidden_size)

    def _inside_native(self, lengths: Sequence[int], a_token: float) -> float:
        """Count the floats inside a layer with native attention."""
        packed = _PACKED * (max(lengths) + _KEY_BLOCK)
        return (a_token * sum(lengths) + packed) * self.hidden_size + _SHORT_TEXTS / _FLOAT

    def _inside_portable(self, lengths: Sequence[int]) -> float:
        """Count the floats inside a layer with the graph's own attention."""
        longest, tokens = max(lengths), sum(lengths)
        places = len(lengths) * longest
        dense = places * longest <= _DENSE**2  # texts side by side, else one after the other
        pairs = places * longest if dense else max((n * n for n in lengths if n <= _DENSE), default=0)
        windowed = 0 if longest <= _DENSE else longest
        return (
            (_TOKEN * tokens + (_ROW * places if dense else _HEADS * tokens) + _WINDOWED * windowed) * self.hidden_size
            + _SCORE * self.heads * pairs
            + _BOUNDS * windowed**2 / _KEY_BLOCK
        )

    def _run_padded(self, lengths: Sequence[int]) -> float:
        """Count the floats of a padded batch of fp16: the weights of all layers, made first, or inside the layers."""
        longest = max(lengths)
        channels = _HALF_CHANNEL * self.hidden_size + _HALF_WIDE * self.inner_size
        scores = _HALF_SCORE * self.heads * min(longest, _HALF_BLOCK)
        return max(self.casts / _FLOAT, len(lengths) * longest * (channels + scores))


def memory_model(manifest: Manifest, precision: str, native: bool = False, native_layers: bool = False) -> MemoryModel:
    """Make the model of memory of one precision of a bundle.

    `native` says whether native kernels compute attention, `native_layers` whether they compute the layers too; without
    native attention they do not count.

    The feed-forward's inner width, which the manifest does not name, is what the sizes of the files leave for it.
    """
    model, names, width = manifest.model, manifest.precisions[precision], _WIDTHS[precision]
    hidden, layers = model.hidden_size, model.num_hidden_layers
    table = model.vocab_size * hidden * width
    weights = sum(manifest.files[name].bytes for name in names)
    parameters = max(0, weights - table) // (width * layers)  # of a layer
    inner = max(hidden, (parameters - 4 * hidden**2) // (3 * hidden))
    apart = len(names) > 1  # weights in a file of their own are mapped, others are read and copied
    casts = parameters * layers * _FLOAT if precision == "fp16" else 0
    kernels = None if not native else _NATIVE_LAYERS if native_layers else _NATIVE_ATTENTION[precision]
    nodes = kernels.nodes if kernels else _HALF_LAYER if precision == "fp16" else _LAYER
    tokenizer = _TOKENIZER * manifest.files[TOKENIZER].bytes
    matrices = layers * (4 * hidden**2 + 3 * hidden * inner) if kernels is _NATIVE_LAYERS else 0
    pages = _LARGE_PAGE * (1 + matrices // _CHUNK) if matrices else 0
    # Mapped weights are let go of as each layer is packed; those that were read and copied stay beside the packed ones.
    packed = pages if apart else matrices + pages
    return MemoryModel(
        hidden_size=hidden,
        inner_size=inner,
        heads=model.num_attention_heads,
        padded=precision == "fp16",
        native=kernels.token if kernels else None,
        permanent=_PROCESS + tokenizer + layers * nodes + weights - (table if apart else 0) + packed + casts,
        # Mapped matrices of a feed-forward stay until onnxruntime's own copies are made; a table read is held twice.
        loading=(0 if matrices else 3 * hidden * inner * width) if apart else table,
        mapped=table if apart else 0,
        casts=casts,
    )


def resident_together(models: Sequence[MemoryModel]) -> int:
    """Compute the bytes of one process that has loaded several models."""
    return _PROCESS + sum(model.beyond_process() for model in models)


def require_room(model: MemoryModel, max_memory: int) -> None:
    """Return if a process of at most `max_memory` bytes can load the model and run a short text.

    Raises:
        MemoryLimitError: it cannot; the message gives the bytes it takes.
    """
    needed = model.peak([_SELF_TEST])
    if needed > max_memory:
        raise MemoryLimitError(
            f"this model takes {in_megabytes(needed)} before any work, more than max_memory allows "
            f"({in_megabytes(max_memory)}); raise max_memory, or use a smaller precision"
        )


_UNITS = {"": 1, "b": 1} | {
    f"{prefix}{middle}b": base**power
    for middle, base in (("", 1000), ("i", 1024))
    for power, prefix in enumerate("kmgt", start=1)
}


def parse_memory(value: int | str, name: str = "max_memory") -> int:
    """Parse bytes from a number, or a text such as "800MB", "1.5 GB" or "512MiB": powers of 1000, with an i of 1024.

    `name` is what errors call it.

    Raises:
        InputTypeError: neither a whole number nor text.
        InputError: not of this form, or less than one byte.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InputTypeError(f"{name} is {type(value).__name__}, not an int or a str such as '800MB'")
    match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*([a-z]*)\s*", str(value), re.ASCII | re.IGNORECASE)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None or (size := int(float(match[1]) * unit)) < 1:
        raise InputError(f"{name} {value!r} is not a size; write it like '800MB', '1.5GB', '512MiB' or in bytes")
    return size


def in_megabytes(size: int) -> str:
    """Format bytes, rounded up to a megabyte (a million bytes), as `parse_memory` reads it."""
    return f"{math.ceil(size / 1_000_000)}MB"


def give_back_freed() -> None:
    """Return freed memory that the C library still holds to the system; a few milliseconds at most, glibc only.

    onnxruntime frees what it read once it has loaded, and what a large batch took after it; glibc keeps whatever lies
    below anything still in use.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def return_large_blocks() -> None:
    """Make the C library return every block of a megabyte or more to the system as soon as it is freed; glibc only.

    Otherwise blocks of up to 32 MB lie in heaps, one per thread, whose free space it keeps.
    """
    adjust = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if adjust is not None:
        adjust(_MMAP_THRESHOLD, _MEBIBYTE)
