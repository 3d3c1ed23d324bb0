"""A model that can be loaded, here or in another process, and the models of this process that were loaded so.

Knows no framework, and nothing of what a model computes.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from jinabert_onnx.bundle.fingerprint import compatible
from jinabert_onnx.bundle.hub import is_hub_id
from jinabert_onnx.bundle.manifest import MANIFEST
from jinabert_onnx.encoding.load_options import LoadOptions
from jinabert_onnx.errors import InputError, InputTypeError, StateError
from jinabert_onnx.model import Model

from .options import LoadingOptions

AnyModel = TypeVar("AnyModel", bound=Model)


@dataclass(frozen=True)
class Loading:
    """How to load a model: arguments of `Model.load`, None for its default, and the `max_seq_length` to set."""

    precision: str | None = None
    provider: str | None = None
    threads: int | str | None = None
    max_memory: int | str | None = None
    revision: str | None = None
    local_files_only: bool | None = None
    max_length: int | None = None


@dataclass(frozen=True)
class Source(Generic[AnyModel]):
    """An `Embedder` or a `CrossEncoder` to load: the class, an absolute path or a hub id, and how.

    `fingerprint` is what must come of it; None takes any.
    """

    kind: type[AnyModel]
    model: str
    loading: Loading
    fingerprint: str | None

    def load(self) -> AnyModel:
        """Return the model, the same one for all that ask alike while any of them holds it.

        Another one where its `max_seq_length` was set, it was closed, or the manifest on disk was replaced.

        Raises:
            InputError: the model makes vectors of another space than `fingerprint`.
            What `Model.load` raises.
        """
        with _lock:
            key = (self.kind, self.model, self.loading, _manifest_on_disk(self.model))
            model = cast(AnyModel | None, _loaded.get(key))
            if model is None or not _is_usable(model) or not _has_length(model, self.loading.max_length):
                model = self._load()
                _loaded[key] = model
        require_space(self.fingerprint, model, self.model)
        return model

    def _load(self) -> AnyModel:
        given = {name: value for name, value in vars(self.loading).items() if value is not None}
        max_length = given.pop("max_length", None)
        model = self.kind.load(self.model, **vars(LoadOptions(**given)))
        if max_length is not None:
            model.max_seq_length = max_length
        return model


def open_shared(
    kind: type[AnyModel], model: object, loading: Loading, fingerprint: str | None = None
) -> tuple[Source[AnyModel], AnyModel]:
    """Return a loaded model, and from where and how it can be loaded again.

    Args:
        kind: `Embedder` or `CrossEncoder`.
        model: directory or hub id of a bundle, or a model of that kind, which is then shared and not closed.
        loading: nothing may be asked for where a loaded model is given.
        fingerprint: of vectors that exist; None takes any model.

    Raises:
        InputTypeError: the model is none of these.
        InputError: loading is asked for and a loaded model is given; or the model is of another space.
        What `Model.load` raises.
    """
    if isinstance(model, kind):
        _require_nothing_asked(kind, loading)
        require_space(fingerprint, model, str(model.bundle.path))
        held = Loading(model.precision, model.provider, max_length=model.max_seq_length)
        return Source(kind, str(model.bundle.path.absolute()), held, fingerprint), model
    source = Source(kind, lasting_name(kind, model), loading, fingerprint)
    return source, source.load()


def require_space(fingerprint: str | None, model: Model, name: str) -> None:
    """Return if vectors of `model`, which lies at `name`, may be compared with those of `fingerprint`.

    Raises:
        InputError: they may not; or `fingerprint` is no fingerprint's text.
    """
    if fingerprint is not None and not compatible(fingerprint, model):
        raise InputError(
            f"{name} makes vectors of another space ({model.fingerprint}) than those that are there "
            f"({fingerprint}): use the model that made them, at its maximum length, or embed the "
            "texts again"
        )


def loading_of(options: Mapping[str, object], max_length: int | None = None) -> Loading:
    """Return what `options` ask for about loading; they may hold others."""
    given: dict[str, Any] = {name: options[name] for name in LoadingOptions.__annotations__ if name in options}
    return Loading(**given, max_length=max_length)


def lasting_name(kind: type[Model], model: object) -> str:
    """Return a hub id as it is, a path so that it holds in another working directory.

    Raises:
        InputTypeError: the model is neither; names the `kind` that could be given instead.
    """
    if not isinstance(model, str | os.PathLike):
        raise InputTypeError(
            f"model is {type(model).__name__}; give the path of a bundle, a hub id or a loaded {kind.__name__}"
        )
    return str(model) if is_hub_id(model) else str(Path(model).absolute())


# Frameworks build classes anew from what they have stored, Chroma at every look at a collection.
_LoadKey = tuple[type[Model], str, Loading, tuple[int, int] | None]
_loaded: weakref.WeakValueDictionary[_LoadKey, Model] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def _is_usable(model: Model) -> bool:
    try:
        model.loaded.session.require_usable()
    except StateError:  # closed by a user, or loaded before a fork
        return False
    return True


def _has_length(model: Model, asked: int | None) -> bool:
    """Whether nobody has set another `max_seq_length` since it was loaded."""
    return model.max_seq_length == (asked or model.bundle.manifest.default_max_length)


def _manifest_on_disk(model: str) -> tuple[int, int] | None:
    """Return when a bundle's manifest was written, in nanoseconds, and its bytes; None for a hub id."""
    try:
        status = Path(model, MANIFEST).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _require_nothing_asked(kind: type[Model], loading: Loading) -> None:
    given = [name for name, value in vars(loading).items() if value is not None]
    if given:
        raise InputError(
            f"{given[0]} is for loading, and the given {kind.__name__} is already loaded; pass it to "
            f"{kind.__name__}.load"
        )
