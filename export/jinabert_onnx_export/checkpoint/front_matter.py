"""What the `README.md` of a checkpoint says of its licence, languages and base model, in YAML before its text.

Anyone may have written it: only values of the expected form are taken, and a block that cannot be read counts as none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import metadata_load
from jinabert_onnx.bundle.manifest import CARD

from jinabert_onnx_export.step_log import Log

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")  # of a licence or a language
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)  # some old models have no owner
_LINK = re.compile(r"(https?://)?[A-Za-z0-9][A-Za-z0-9./_~%-]*")  # an address, or a file beside the README


@dataclass(frozen=True)
class FrontMatter:
    """Each as the hub's metadata names it, and None or empty where the checkpoint does not say."""

    license: str | None = None
    license_name: str | None = None
    license_link: str | None = None
    language: tuple[str, ...] = ()
    base_model: tuple[str, ...] = ()


def read_front_matter(directory: Path, log: Log) -> FrontMatter:
    """Read the metadata of the checkpoint in `directory`; `log` gets a line if there is some that cannot be read."""
    path = directory / CARD
    if not path.is_file():
        return FrontMatter()
    try:
        content = metadata_load(path) or {}
    except Exception as error:  # yaml raises its own class, reading OSError, UTF-8 and huggingface_hub ValueError
        reason = " ".join(str(error).split())[:200]
        log(f"{path}: its metadata cannot be read and is left out ({type(error).__name__}: {reason})")
        return FrontMatter()
    return FrontMatter(
        license=_one(content, "license", _WORD),
        license_name=_one(content, "license_name", _WORD),
        license_link=_one(content, "license_link", _LINK),
        language=_some(content, "language", _WORD),
        base_model=_some(content, "base_model", _HUB_NAME),
    )


def _one(content: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str | None:
    values = _some(content, name, form)
    return values[0] if len(values) == 1 else None


def _some(content: Mapping[str, Any], name: str, form: re.Pattern[str]) -> tuple[str, ...]:
    """Return the values of this form; YAML takes a bare `no`, Norwegian, for false."""
    given = content.get(name)
    values = given if isinstance(given, list) else [given]
    return tuple(value for value in values if isinstance(value, str) and form.fullmatch(value))
