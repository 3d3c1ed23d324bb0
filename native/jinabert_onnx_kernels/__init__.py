"""Native kernels for jinabert-onnx: where the library is, which graphs it fits, and what this processor gets of it.

Holds no arithmetic: the library is registered with onnxruntime, and takes the place of operators of the `jinabert`
domain. Knows nothing of bundles.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from functools import cache
from pathlib import Path

__all__ = [
    "DOMAIN_VERSION",
    "OLDEST_DOMAIN_VERSION",
    "__version__",
    "attention_instructions",
    "attention_runs",
    "layer_instructions",
    "layer_runs",
    "library_path",
]

__version__ = "0.1.0"

DOMAIN_VERSION = 3  # of the `jinabert` domain, whose operators the library holds
OLDEST_DOMAIN_VERSION = 2  # the oldest that it serves too, with attention alone
_SUFFIX = ".dll" if sys.platform == "win32" else ".so"


def library_path() -> Path:
    """Return the path of the shared library, for onnxruntime's `SessionOptions.register_custom_ops_library`."""
    return Path(__file__).with_name(f"jinabert_onnx_kernels{_SUFFIX}")


def attention_instructions(head_size: int, bfloat16: bool) -> str | None:
    """Return the instruction set that attention runs with on this processor, such as "avx512" or "neon".

    `head_size` is in channels. With `bfloat16`, products may be of that type where the processor has them. None where
    there is no kernel for this processor or this size.

    Raises:
        OSError: the library is missing or damaged, or was built for another system.
    """
    name: bytes = _library().jinabert_attention_kernel(head_size, bfloat16)
    return name.decode("ascii") or None


def attention_runs() -> int:
    """Return how often the native attention has run in this process, once for each layer of a run.

    Raises:
        OSError: the library is missing or damaged, or was built for another system.
    """
    return int(_library().jinabert_attention_runs())


def layer_instructions(hidden_size: int) -> str | None:
    """Return the instruction set that int8 layers run with on this processor, such as "avx512_vnni" or "neon_dot".

    `hidden_size` is in channels. None where there is no kernel for this processor or this size, or where onnxruntime's
    own products are faster (AMX).

    Raises:
        OSError: the library is missing or damaged, or was built for another system.
    """
    name: bytes = _library().jinabert_layer_kernel(hidden_size)
    return name.decode("ascii") or None


def layer_runs() -> int:
    """Return how often native operators of int8 layers have run in this process, two for each layer of a run.

    Raises:
        OSError: the library is missing or damaged, or was built for another system.
    """
    return int(_library().jinabert_layer_runs())


@cache
def _library() -> ctypes.CDLL:
    _require_whole(library_path())
    library = ctypes.CDLL(str(library_path()))
    try:
        library.jinabert_attention_kernel.argtypes = [ctypes.c_size_t, ctypes.c_int]
        library.jinabert_attention_kernel.restype = ctypes.c_char_p
        library.jinabert_attention_runs.restype = ctypes.c_uint64
        library.jinabert_layer_kernel.argtypes = [ctypes.c_size_t]
        library.jinabert_layer_kernel.restype = ctypes.c_char_p
        library.jinabert_layer_runs.restype = ctypes.c_uint64
        version = library.jinabert_domain_version()
    except AttributeError as error:  # as where a function is missing
        raise OSError(f"{library_path()} is not the library of this package ({error})") from error
    if version != DOMAIN_VERSION:
        raise OSError(f"{library_path()} holds version {version} of the operators, this package {DOMAIN_VERSION}")
    return library


def _require_whole(path: Path) -> None:
    """Refuse an ELF file that was cut short: the loader would map it, and the process die at its first touch.

    Its table of sections stands at its end.
    """
    with path.open("rb") as file:
        header = file.read(64)
    if not header.startswith(b"\x7fELF") or len(header) < 64:
        return  # another system's format; or the loader says that it is too short
    (table,) = struct.unpack_from("<Q", header, 40)
    entry_bytes, entries = struct.unpack_from("<HH", header, 58)
    if path.stat().st_size < table + entry_bytes * entries:
        raise OSError(f"{path} was cut short; install it again")
