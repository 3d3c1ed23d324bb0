"""A bundle's name to a loaded, checked model: files, precision, session, limits, self-test, in this order.

Knows nothing of texts beyond those of the self-test.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from . import providers
from .bundle import TOKENIZER, Bundle
from .cpus import cpu_features
from .encoding import LoadedModel
from .errors import BundleError, RunError, SelfTestError
from .fitting import require_fitting
from .memory import memory_model, parse_memory, require_room
from .memory_limit import MemoryLimit
from .opening import open_files
from .precision import PrecisionChoice, choose_precision
from .probes import compare, read_probes
from .session import Session
from .threads import SharedThreads
from .tokenizer import Tokenizer
from .vector_types import AnyVectors

# Between CPUs, products differ in the last bits and int8 steps flip here and there; a CPU whose int8 saturates, or
# another tokenizer, is far below.
_SELF_TEST_COSINE = {"fp32": 0.99999, "fp16": 0.9995, "int8": 0.9995}

logger = logging.getLogger("jinabert_onnx")


@dataclass(frozen=True)
class Asked:
    """The arguments of `Embedder.load` that say what to open."""

    precision: str
    provider: str
    threads: int | str | SharedThreads
    max_memory: int | str | None
    integrity: str
    revision: str | None
    local_files_only: bool


@dataclass(frozen=True)
class Opened:
    """A model ready to run, and why it is of this precision."""

    model: LoadedModel
    precision_reason: str


def open_model(source: str | os.PathLike[str], asked: Asked) -> Opened:
    """Find the bundle, check its files, and open tokenizer and session.

    Raises:
        What `Embedder.load` raises, but for SelfTestError.
    """
    limit = None if asked.max_memory is None else parse_memory(asked.max_memory)
    opened = _open(source, asked, limit)
    if asked.precision == "auto" and opened.model.precision == "fp16" and opened.model.session.provider == "cpu":
        opened.model.session.close()  # picked for a GPU that could not be started
        opened = _open(source, replace(asked, provider="cpu"), limit)
    session = opened.model.session
    logger.info(
        "%s: %s (%s) on %s, %d threads (%s)",
        opened.model.bundle.path,
        opened.model.precision,
        opened.precision_reason,
        session.provider,
        session.threads,
        session.threads_reason,
    )
    return opened


def self_test(model: LoadedModel, encode: Callable[[Sequence[str]], AnyVectors]) -> None:
    """Compare what `encode` gives for a few texts with what this precision gave at export.

    Raises:
        SelfTestError: it differs, or is not finite.
        BundleError: the bundle holds no texts and vectors for this precision.
    """
    expected = read_probes(model.bundle).self_test
    if model.precision not in expected.vectors:
        raise BundleError(f"{model.bundle.path}: no vectors for a self-test of {model.precision}; export it again")
    try:
        found = compare(encode(expected.texts), expected.vectors[model.precision]).min_cosine
    except RunError as error:
        raise SelfTestError(_self_test_failure(model, str(error))) from error
    if not found >= _SELF_TEST_COSINE[model.precision]:  # NaN, should the bundle's own vectors hold it, is no agreement
        raise SelfTestError(
            _self_test_failure(model, f"smallest cosine {found:.6f}, required is {_SELF_TEST_COSINE[model.precision]}")
        )


def _self_test_failure(model: LoadedModel, found: str) -> str:
    release = providers.import_onnxruntime().__version__
    return (
        f"{model.bundle.path}: {model.precision} on {model.session.provider} computes other vectors here than at "
        f"export ({found}): this processor, onnxruntime {release} or the tokenizers package is at fault; try another "
        "release or precision (`jinabert-onnx verify` tells more)"
    )


def _open(source: str | os.PathLike[str], asked: Asked, limit: int | None) -> Opened:
    available = providers.import_onnxruntime().get_available_providers()
    choices: list[PrecisionChoice] = []

    def choose(bundle: Bundle) -> str:
        device = providers.choose(asked.provider, "fp32", available)[0] if asked.precision == "auto" else "cpu"
        choices.append(choose_precision(asked.precision, list(bundle.manifest.precisions), device, cpu_features()))
        return choices[-1].precision

    bundle, files = open_files(source, choose, asked.integrity, asked.revision, asked.local_files_only)
    precision = choices[-1].precision
    memory = _memory_limit(bundle, precision, limit)
    tokenizer = Tokenizer(bundle.path / TOKENIZER)
    session = Session(bundle.path / files[0], precision, asked.provider, asked.threads)
    require_fitting(bundle, tokenizer, session)
    return Opened(LoadedModel(bundle, precision, tokenizer, session, memory), choices[-1].reason)


def _memory_limit(bundle: Bundle, precision: str, limit: int | None) -> MemoryLimit | None:
    if limit is None:
        return None
    model = memory_model(bundle.manifest, precision).settled()  # a limit must hold however long the process lives
    require_room(model, limit)
    return MemoryLimit(model, limit)
