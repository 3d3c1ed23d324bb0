"""What Haystack's components have in common: a model that is loaded when it is first needed.

Needs haystack-ai.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Generic, Self, TypeVar

from haystack import default_from_dict

from jinabert_onnx.encoding.options import defaults_of, require_known
from jinabert_onnx.model import Model

from .held_model import HeldModel
from .source import lasting_name

_Held = TypeVar("_Held", bound=HeldModel[Any, Any])


class WithModel(Generic[_Held]):
    """A component that loads a model, or shares one.

    Attributes:
        model: the name of the model as it was given; the absolute path of a model that was given loaded.
        options: all options of the constructor.
    """

    model: str
    options: dict[str, Any]
    _place: str
    _held: _Held | None = None

    def warm_up(self) -> None:
        """Load the model, unless it is loaded; `run` does so too.

        Raises:
            InputError: an option is out of range, or the model is none for this component.
            BundleError: likewise; or the bundle is damaged or missing.
            What `Embedder.load` and `CrossEncoder.load` raise.
        """
        self._loaded()

    async def warm_up_async(self) -> None:
        """Run `warm_up` in a thread."""
        await asyncio.to_thread(self.warm_up)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the component that `to_dict` was asked of; its model is not loaded yet.

        Raises:
            InputTypeError: an option is unknown.
        """
        return default_from_dict(cls, data)

    def _keep(self, kind: type[Model], model: object, options: Mapping[str, object], declaration: type) -> None:
        """Keep what was asked for; of a loaded model also what is needed to load it again."""
        require_known("__init__", options, declaration)
        self.options = {**defaults_of(declaration), **options}
        if isinstance(model, kind):
            self._held = self._open(model)
            self._place = self.model = self._held.source.model
            settings = self._held.settings
            self.options = {name: settings.get(name, value) for name, value in self.options.items()}
        else:
            self._place = lasting_name(kind, model)
            self.model = model if isinstance(model, str) else self._place

    def _open(self, model: Any) -> _Held:
        """Return the loaded model with its settings, checked."""
        raise NotImplementedError

    def _loaded(self) -> _Held:
        if self._held is None:
            self._held = self._open(self._place)
        return self._held
