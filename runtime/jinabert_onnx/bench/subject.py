"""What a bench measures: a bundle that has been found and checked, the configurations to load, and what they cost.

Knows nothing of cells or clocks, but for the machine's ceiling, of which costs are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinabert_onnx.bundle.hub import is_hub_id
from jinabert_onnx.bundle.locate import open_source, require_files
from jinabert_onnx.bundle.manifest import Bundle
from jinabert_onnx.encoding.loading import request_kernels
from jinabert_onnx.engine import providers
from jinabert_onnx.engine.kernels import Kernels, choose_kernels, require_kernels_option
from jinabert_onnx.engine.memory_model import MemoryModel, memory_model
from jinabert_onnx.engine.threads import count_threads
from jinabert_onnx.errors import InputError
from jinabert_onnx.model import Model
from jinabert_onnx.text.inputs import require_range

from . import record
from .kinds import Kind, kind_of
from .plan import Configuration, Wanted
from .processes import Place
from .roofline import Ceiling, Rates, sizes_of
from .texts import PairMaker, TextMaker


@dataclass(frozen=True)
class Subject:
    """What is measured: the bundle, its kind, how a process finds it, configurations with the kernels of each, a maker
    of texts or pairs, and ceilings, which were measured once.
    """

    bundle: Bundle
    kind: Kind
    place: Place
    configurations: Mapping[Configuration, Kernels]
    maker: TextMaker | PairMaker
    ceilings: dict[Ceiling, Rates]

    @property
    def longest(self) -> int:
        """Return the most tokens that the model takes at once."""
        return self.bundle.manifest.model.max_tokens

    @property
    def attention(self) -> dict[str, str]:
        """Return what computes attention, by precision."""
        return {one.precision: kernels.attention for one, kernels in self.configurations.items()}

    @property
    def layers(self) -> dict[str, str]:
        """Return what computes the layers, by precision."""
        return {one.precision: kernels.layers for one, kernels in self.configurations.items()}

    def memory(self, configuration: Configuration) -> MemoryModel:
        """Return what a process with this configuration is expected to hold."""
        kernels = self.configurations[configuration]
        return memory_model(self.bundle.manifest, configuration.precision, kernels.native, kernels.native_layers)


def open_subject(source: str, wanted: Wanted, revision: str | None, local_files_only: bool) -> Subject:
    """Find the bundle, check its files, which are hashed once, and measure the machine's ceiling.

    Raises:
        InputError: a value that the model or the bench cannot take.
        What `Embedder.load` raises.
    """
    bundle = open_source(source, revision, local_files_only)
    kind = kind_of(bundle.manifest)
    _require_possible(wanted, bundle)
    configurations = {one: _kernels(bundle, one) for one in _configurations(bundle, kind, wanted)}
    for precision in {configuration.precision for configuration in configurations}:
        require_files(source, bundle, precision, "fast", local_files_only)
    place = Place(source, bundle.path.name if is_hub_id(source) else None)
    maker = kind.maker(bundle.path)
    if wanted.lengths:
        require_range("length", min(wanted.lengths), maker.shortest, None)
    ceilings = {}
    for threads in sorted({configuration.threads for configuration in configurations}):
        ceiling = Ceiling(threads)
        ceilings[ceiling] = ceiling.measure(first=True)
    return Subject(bundle, kind, place, configurations, maker, ceilings)


def _require_possible(wanted: Wanted, bundle: Bundle) -> None:
    for precision in wanted.precisions:
        bundle.files_of(precision)
    for name, values in (("batch_size", wanted.batch_sizes), ("threads", wanted.threads)):
        for value in values:
            require_range(name, value, 1, 1024)
    for length in wanted.lengths:
        require_range("length", length, 1, bundle.manifest.model.max_tokens)
    if wanted.rounds is not None:
        require_range("rounds", wanted.rounds, 2, 1000)
    if wanted.seconds is not None and not 1 <= wanted.seconds <= 1e6:
        raise InputError(f"seconds is {wanted.seconds:g}; it must be from 1 to 1000000")


def _configurations(bundle: Bundle, kind: Kind, wanted: Wanted) -> tuple[Configuration, ...]:
    """Every model to load; of what was not asked for, what makes sense where it runs."""
    available = providers.import_onnxruntime().get_available_providers()
    threads = wanted.threads or (count_threads("auto")[0],)
    found: list[Configuration] = []
    for precision in wanted.precisions or _sensible(list(bundle.manifest.precisions), wanted.provider, available):
        got = providers.choose(wanted.provider, precision, available)[0]
        if got == "cuda" and wanted.provider == "auto":  # what it really gets is known when it is loaded
            with kind.model.load(bundle.path, precision=precision, self_test=False) as model:
                got = model.provider
        found += [Configuration(precision, got, number) for number in threads]
    return tuple(found)


def _kernels(bundle: Bundle, configuration: Configuration) -> Kernels:
    """Return what `load` will find: `JINABERT_ONNX_KERNELS` may switch native kernels off."""
    graph = bundle.path / bundle.files_of(configuration.precision)[0]
    request = request_kernels(bundle, graph, require_kernels_option("auto"))
    return choose_kernels(request, configuration.provider, configuration.precision)


def _sensible(held: Sequence[str], provider: str, available: list[str]) -> list[str]:
    """Return those of a bundle's precisions that are made for the provider, or all."""
    on_gpu = provider == "cuda" or (provider == "auto" and "CUDAExecutionProvider" in available)
    unfit = "int8" if on_gpu else "fp16"
    return [precision for precision in held if precision != unfit] or list(held)


def load(place: Place, kind: Kind, configuration: Configuration) -> Model:
    """Return the model to time.

    Raises:
        What `Embedder.load` raises.
    """
    return kind.model.load(
        place.source,
        precision=configuration.precision,
        provider=configuration.provider,
        threads=configuration.threads,
        revision=place.revision,
        local_files_only=place.revision is not None,
    )


def describe_model(bundle: Bundle) -> record.Model:
    """Return what a record says of the model."""
    manifest, model = bundle.manifest, bundle.manifest.model
    return record.Model(
        name=manifest.source or bundle.path.name,
        weights_sha256=manifest.weights_sha256,
        variant=model.variant,
        sizes=sizes_of(bundle),
        heads=model.num_attention_heads,
        longest=model.max_tokens,
        kind=kind_of(manifest).name,
    )
