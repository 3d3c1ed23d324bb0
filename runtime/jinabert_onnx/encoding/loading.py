"""A bundle's name to a loaded, checked model: files, precision, session, limits, in this order.

Knows nothing of texts.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from jinabert_onnx.bundle.domain_version import read_domain_version
from jinabert_onnx.bundle.integrity import require_integrity
from jinabert_onnx.bundle.kinds import require_cross_encoder, require_embedding_model
from jinabert_onnx.bundle.locate import Source, open_source, require_files
from jinabert_onnx.bundle.manifest import TOKENIZER, Bundle
from jinabert_onnx.engine import providers
from jinabert_onnx.engine.cpu import cpu_features
from jinabert_onnx.engine.kernels import NO_KERNELS, KernelRequest, Kernels, require_kernels_option
from jinabert_onnx.engine.memory_limit import MemoryLimit
from jinabert_onnx.engine.memory_model import MemoryModel, memory_model, parse_memory, require_room, return_large_blocks
from jinabert_onnx.engine.precision import choose_precision
from jinabert_onnx.engine.session import Session, SessionLoading
from jinabert_onnx.text.tokenizer import Tokenizer

from .consistency import require_fitting
from .dense import read_dense
from .load_options import LoadOptions
from .loaded_model import LoadedModel

logger = logging.getLogger("jinabert_onnx")


@dataclass(frozen=True)
class Opened:
    """A model ready to run, why it is of this precision, and the provider that this was picked for."""

    model: LoadedModel
    precision_reason: str
    assumed: str


def open_model(source: Source, options: LoadOptions, scores: bool = False) -> Opened:
    """Open the bundle at `source`: check its files, then start the session and read the tokenizer.

    `scores` asks for a cross-encoder, which gives scores and no vectors.

    Raises:
        What `Embedder.load` raises, but for SelfTestError.
    """
    limit = None if options.max_memory is None else parse_memory(options.max_memory)
    options = _with_kernels(options)
    opened = _open(source, options, limit, scores)
    if options.precision == "auto" and opened.assumed != opened.model.session.provider:
        opened.model.session.close()  # the precision was picked for a GPU that could not be started
        opened = _open(source, replace(options, provider="cpu"), limit, scores)
    session = opened.model.session
    if limit is not None:
        memory = _memory_model(opened.model.bundle, opened.model.precision, limit, session.kernels)
        opened = replace(opened, model=replace(opened.model, memory=MemoryLimit(memory, limit, session.give_back)))
    logger.info(
        "%s: %s (%s) on %s (%s), %d threads (%s), %s attention (%s), %s layers (%s)",
        opened.model.bundle.path,
        opened.model.precision,
        opened.precision_reason,
        session.provider,
        session.provider_reason,
        session.threads,
        session.threads_reason,
        session.kernels.attention,
        session.kernels.reason,
        session.kernels.layers,
        session.kernels.layers_reason,
    )
    return opened


def _with_kernels(options: LoadOptions) -> LoadOptions:
    """Settle what is wanted of kernels; the CPU alone has them, so requiring them takes it."""
    asked = require_kernels_option(options.kernels)
    on_cpu = asked == "require" and options.provider == "auto"
    return replace(options, kernels=asked, provider="cpu" if on_cpu else options.provider)


def _open(source: Source, options: LoadOptions, limit: int | None, scores: bool) -> Opened:
    require_integrity(options.integrity)
    bundle = open_source(source, options.revision, options.local_files_only)
    (require_cross_encoder if scores else require_embedding_model)(bundle)
    device = _device(options)
    choice = choose_precision(options.precision, list(bundle.manifest.precisions), device, cpu_features())
    files = require_files(source, bundle, choice.precision, options.integrity, options.local_files_only)
    if limit is not None:
        return_large_blocks()  # of the whole process, which is what the limit is for
    if limit is not None and device == "cpu":  # before anything large is loaded; else the precision may yet change
        _memory_model(bundle, choice.precision, limit)
    weights = [bundle.path / name for name in files[1:]]
    onnx_file = bundle.path / files[0]
    kernels = request_kernels(bundle, onnx_file, options.kernels)
    with SessionLoading(onnx_file, choice.precision, options.provider, options.threads, weights, kernels) as loading:
        tokenizer = Tokenizer(bundle.path / TOKENIZER)
        session = Session(loading)
    require_fitting(bundle, tokenizer, session)
    assumed = session.provider if choice.precision == "int8" else device  # int8 never runs on a GPU
    model = LoadedModel(bundle, choice.precision, tokenizer, session, None, read_dense(bundle))
    return Opened(model, choice.reason, assumed)


def request_kernels(bundle: Bundle, onnx_file: Path, asked: str) -> KernelRequest:
    """Return what native kernels must fit to run this graph; `asked` is what `require_kernels_option` returned."""
    model = bundle.manifest.model
    head_size = model.hidden_size // model.num_attention_heads
    return KernelRequest(asked, head_size, model.hidden_size, read_domain_version(onnx_file))


def _device(options: LoadOptions) -> str:
    """Return where the model will run, as far as "auto" must know it to pick a precision."""
    if options.precision != "auto":
        return "cpu"
    available = providers.import_onnxruntime().get_available_providers()
    return providers.choose(options.provider, "fp32", available)[0]


def _memory_model(bundle: Bundle, precision: str, limit: int, kernels: Kernels = NO_KERNELS) -> MemoryModel:
    """Return the model of the memory of a process that lives for long, which must fit into its limit."""
    model = memory_model(bundle.manifest, precision, kernels.native, kernels.native_layers).settled()
    require_room(model, limit)
    return model
