"""Arguments of `encode` that users of sentence-transformers and of the models' own code write.

They are taken where they ask for what happens anyway: numpy arrays, computed where the model was loaded.
"""

from __future__ import annotations

from typing import TypedDict

from jinabert_onnx.errors import InputError, InputTypeError


class OtherArguments(TypedDict, total=False):
    """`device` is a name such as "cpu", an object whose text that is, or None."""

    convert_to_numpy: bool
    convert_to_tensor: bool
    device: object


def require_no_effect(arguments: OtherArguments, provider: str) -> None:
    """Return if none asks for anything else than numpy arrays from `provider`.

    Raises:
        InputError: one does; says what to write instead.
        InputTypeError: there is no such argument.
    """
    for name in arguments.keys() - OtherArguments.__annotations__.keys():
        raise InputTypeError(f"encode() got an unexpected keyword argument {name!r}")
    if arguments.get("convert_to_tensor"):
        raise InputError(
            "convert_to_tensor=True would need torch, and vectors are numpy arrays here; leave it out, and write "
            "torch.from_numpy(vectors)"
        )
    if not arguments.get("convert_to_numpy", True):
        raise InputError(
            "convert_to_numpy=False would need torch, and vectors are numpy arrays here; leave it out, and write "
            "list(torch.from_numpy(vectors))"
        )
    device = arguments.get("device")
    if device is not None and str(device) not in (provider, f"{provider}:0"):
        raise InputError(
            f"device {str(device)!r} is not where this model runs ({provider}); leave it out, and choose when loading: "
            "Embedder.load(path, provider='cpu') or provider='cuda'"
        )
