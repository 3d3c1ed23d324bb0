"""What the classes for frameworks share: a model, how it is asked, and what is left of it when it is pickled.

Knows no framework.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from jinabert_onnx.bundle.fingerprint import compatible
from jinabert_onnx.bundle.hub import is_hub_id
from jinabert_onnx.bundle.manifest import MANIFEST
from jinabert_onnx.embedder import DOCUMENT_PROMPTS, Embedder, Spans
from jinabert_onnx.encoding.load_options import LoadOptions
from jinabert_onnx.encoding.options import EncodeOptions, defaults_of, require_known
from jinabert_onnx.encoding.results import Chunks
from jinabert_onnx.encoding.settings import resolve_settings
from jinabert_onnx.encoding.vector_types import AnyVectors
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.errors import InputError, InputTypeError, StateError

from .options import ModelOptions

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Loading:
    """How to load a model: arguments of `Embedder.load`, None for its default, and the `max_seq_length` to set."""

    precision: str | None = None
    provider: str | None = None
    threads: int | str | None = None
    max_memory: int | str | None = None
    revision: str | None = None
    local_files_only: bool | None = None
    max_length: int | None = None


@dataclass(frozen=True)
class Asking:
    """How every text is encoded: arguments of `Embedder.encode`."""

    normalize_embeddings: bool
    truncation: str
    batch_size: int


@dataclass(frozen=True)
class Source:
    """A model that can be loaded, here or in another process: an absolute path or a hub id, and how.

    `fingerprint` is what must come of it; None takes any.
    """

    model: str
    loading: Loading
    fingerprint: str | None

    def load(self) -> Embedder:
        """Return the Embedder, the same one for all that ask alike while any of them holds it.

        Another one where its `max_seq_length` was set, it was closed, or the manifest on disk was replaced.

        Raises:
            InputError: the model makes vectors of another space than `fingerprint`.
            What `Embedder.load` raises.
        """
        with _lock:
            key = (self.model, self.loading, _manifest_on_disk(self.model))
            embedder = _loaded.get(key)
            if embedder is None or not _is_usable(embedder) or not _has_length(embedder, self.loading.max_length):
                embedder = _load(self.model, self.loading)
                _loaded[key] = embedder
        require_space(self.fingerprint, embedder, self.model)
        return embedder


class Encoder:
    """A model, and how the frameworks' texts are encoded with it. It never changes, and copies are the same object.

    Pickled it is its `Source`: the model is loaded again where it is unpickled, once it is needed, and must have the
    same fingerprint's space.
    """

    def __init__(self, source: Source, asking: Asking, embedder: Embedder | None = None) -> None:
        self.source, self.asking = source, asking
        self._embedder = embedder

    @property
    def embedder(self) -> Embedder:
        """Return the model, loaded by now.

        Raises:
            What `Source.load` raises.
        """
        if self._embedder is None:
            self._embedder = self.source.load()
        return self._embedder

    def queries(self, texts: Sequence[str], cancellation: Cancellation | None = None) -> AnyVectors:
        """Compute float32 (n, hidden) of texts to search with, with the bundle's prompt for queries, if it has one."""
        settings = asdict(self.asking)
        return self.embedder.encode_query(
            _listed(texts), show_progress_bar=False, cancellation=cancellation, **settings
        )

    def documents(self, texts: Sequence[str], cancellation: Cancellation | None = None) -> AnyVectors:
        """Compute float32 (n, hidden) of texts to be found, with the bundle's prompt for documents, if it has one."""
        settings = asdict(self.asking)
        return self.embedder.encode_document(
            _listed(texts), show_progress_bar=False, cancellation=cancellation, **settings
        )

    def chunks(self, text: str, spans: Spans, cancellation: Cancellation | None = None) -> Chunks:
        """Embed a document by late chunking, with the bundle's prompt for documents; it is read whole, never cut."""
        held = self.embedder.bundle.manifest.prompts
        return self.embedder.encode_chunks(
            text,
            spans,
            normalize_embeddings=self.asking.normalize_embeddings,
            prompt_name=next((name for name in DOCUMENT_PROMPTS if name in held), None),
            cancellation=cancellation,
        )

    def __copy__(self) -> Encoder:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Encoder:
        return self

    def __reduce__(self) -> tuple[type[Encoder], tuple[Source, Asking]]:
        return Encoder, (self.source, self.asking)


def open_encoder(model: str | os.PathLike[str] | Embedder, options: ModelOptions, batch_size: int) -> Encoder:
    """Open an encoder whose model is loaded and whose settings are checked.

    Args:
        model: directory or hub id of a bundle, or an Embedder, which is then shared and not closed.
        options: nothing about loading may be asked for where an Embedder is given.
        batch_size: maximum number of texts per batch.

    Raises:
        InputTypeError: the model is none of these, or an option is unknown.
        InputError: a setting is out of range, or means loading and an Embedder is given; another space.
        What `Embedder.load` raises.
    """
    require_known("__init__", options, ModelOptions)
    loading = Loading(**_given(Loading, options))
    defaults = defaults_of(ModelOptions)
    asking = Asking(**_given(Asking, {**defaults, **options}), batch_size=batch_size)
    fingerprint = options.get("fingerprint")
    if isinstance(model, Embedder):
        _require_nothing_asked(loading)
        require_space(fingerprint, model, str(model.bundle.path))
        embedder, source = model, _source_of(model)
    elif isinstance(model, str | os.PathLike):
        wanted = Source(_lasting_name(model), loading, fingerprint)
        embedder = wanted.load()
        source = Source(wanted.model, loading, str(embedder.fingerprint))
    else:
        raise InputTypeError(f"model is {type(model).__name__}; give the path of a bundle, a hub id or an Embedder")
    encoding = cast(EncodeOptions, asdict(asking))
    resolve_settings(embedder.loaded, encoding, embedder.max_seq_length)  # refuses what is out of range
    return Encoder(source, asking, embedder)


def require_space(fingerprint: str | None, embedder: Embedder, name: str) -> None:
    """Return if vectors of `embedder`, which lies at `name`, may be compared with those of `fingerprint`.

    Raises:
        InputError: they may not; or `fingerprint` is no fingerprint's text.
    """
    if fingerprint is not None and not compatible(fingerprint, embedder):
        raise InputError(
            f"{name} makes vectors of another space ({embedder.fingerprint}) than those that are there "
            f"({fingerprint}): use the model that made them, at its maximum length, or embed the "
            "texts again"
        )


def as_lists(vectors: AnyVectors) -> list[list[float]]:
    """Turn vectors (n, hidden) into the lists of numbers that frameworks store."""
    rows: list[list[float]] = vectors.tolist()
    return rows


async def in_thread(call: Callable[[Cancellation], _Result]) -> _Result:
    """Return what `call` gives, from a thread, so that the event loop goes on; a cancelled task ends the call."""
    cancellation = Cancellation()
    try:
        return await asyncio.to_thread(call, cancellation)
    except asyncio.CancelledError:
        cancellation.cancel()
        raise


# Frameworks build classes anew from what they have stored, Chroma at every look at a collection.
_LoadKey = tuple[str, Loading, tuple[int, int] | None]
_loaded: weakref.WeakValueDictionary[_LoadKey, Embedder] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def _load(model: str, loading: Loading) -> Embedder:
    given = {name: value for name, value in vars(loading).items() if value is not None}
    max_length = given.pop("max_length", None)
    embedder = Embedder.load(model, **vars(LoadOptions(**given)))
    if max_length is not None:
        embedder.max_seq_length = max_length
    return embedder


def _is_usable(embedder: Embedder) -> bool:
    try:
        embedder.loaded.session.require_usable()
    except StateError:  # closed by a user, or loaded before a fork
        return False
    return True


def _has_length(embedder: Embedder, asked: int | None) -> bool:
    """Whether nobody has set another `max_seq_length` since it was loaded."""
    return embedder.max_seq_length == (asked or embedder.bundle.manifest.default_max_length)


def _manifest_on_disk(model: str) -> tuple[int, int] | None:
    """Return when a bundle's manifest was written, in nanoseconds, and its bytes; None for a hub id."""
    try:
        status = Path(model, MANIFEST).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _given(kind: type[Loading] | type[Asking], options: Mapping[str, object]) -> dict[str, Any]:
    """Return those of the options that are fields of `kind`."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in options.items() if name in names}


def _source_of(embedder: Embedder) -> Source:
    loading = Loading(embedder.precision, embedder.provider, max_length=embedder.max_seq_length)
    return Source(str(embedder.bundle.path.absolute()), loading, str(embedder.fingerprint))


def _lasting_name(model: str | os.PathLike[str]) -> str:
    """Return a hub id as it is, a path so that it holds in another working directory."""
    return str(model) if is_hub_id(model) else str(Path(model).absolute())


def _require_nothing_asked(loading: Loading) -> None:
    given = [name for name, value in vars(loading).items() if value is not None]
    if given:
        raise InputError(
            f"{given[0]} is for loading, and the given Embedder is already loaded; pass it to Embedder.load"
        )


def _listed(texts: Iterable[str]) -> Iterable[str]:
    if isinstance(texts, str):
        raise InputTypeError("texts are one str, not a list of str; put it into a list")
    return texts
