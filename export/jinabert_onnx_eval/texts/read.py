"""The user's texts that reports measure on: one JSON file, read and checked.

Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinabert_onnx.errors import InputError

FORM = '{"pairs": [{"en": "...", "de": "..."}], "sentences": [{"text": "..."}], "long": [{"text": "..."}]}'


@dataclass(frozen=True)
class Pair:
    """An English and a German text of one meaning."""

    english: str
    german: str


@dataclass(frozen=True)
class Question:
    """A question, and the words in the long text number `document` that answer it."""

    text: str
    document: int
    answer: str


@dataclass(frozen=True)
class EvalTexts:
    """What one file holds; `name` and `sha256` (hex) are the file's."""

    name: str
    sha256: str
    pairs: tuple[Pair, ...] = ()
    sentences: tuple[str, ...] = ()
    long: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()

    def require(self, part: str, least: int) -> None:
        """Return if there are `least` texts under the key `part`.

        Raises:
            InputError: there are fewer.
        """
        held = len(getattr(self, part))
        if held < least:
            raise InputError(
                f"{self.name}: {held} texts under {part!r}, and this report needs {least} or more; add some"
            )

    def describe(self) -> dict[str, object]:
        """For a report: which file, and how much it holds."""
        counts = {part: len(getattr(self, part)) for part in ("pairs", "sentences", "long", "questions")}
        return {"file": self.name, "sha256": self.sha256, **counts}


def read_texts(path: Path) -> EvalTexts:
    """Read a file of the form `FORM`, in which each key may be absent; `docs/guides/quality.md` describes it.

    Raises:
        InputError: not readable, not JSON, or not of this form; names the place.
    """
    raw = _read(path)
    try:
        content: Any = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); convert the file") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); the form is {FORM}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object; the form is {FORM}")
    long = tuple(_text(item, f"{path}: long[{index}]") for index, item in enumerate(_list(content, "long", path)))
    texts = EvalTexts(
        path.name,
        hashlib.sha256(raw).hexdigest(),
        tuple(_pair(item, f"{path}: pairs[{index}]") for index, item in enumerate(_list(content, "pairs", path))),
        tuple(_text(item, f"{path}: sentences[{n}]") for n, item in enumerate(_list(content, "sentences", path))),
        long,
        tuple(_question(item, long, f"{path}: questions[{n}]") for n, item in
              enumerate(_list(content, "questions", path))),
    )  # fmt: skip
    if not (texts.pairs or texts.sentences or texts.long):
        raise InputError(f"{path}: holds no texts; the form is {FORM}")
    return texts


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; give a JSON file of the form {FORM}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a JSON file") from error


def _list(content: dict[str, Any], key: str, path: Path) -> list[Any]:
    value = content.get(key, [])
    if not isinstance(value, list):
        raise InputError(f"{path}: {key!r} is not a list; the form is {FORM}")
    return value


def _pair(item: Any, where: str) -> Pair:
    return Pair(_field(item, "en", where), _field(item, "de", where))


def _text(item: Any, where: str) -> str:
    """A text that stands as itself or under the key `text`."""
    return _field(item, "text", where) if isinstance(item, dict) else _checked(item, where)


def _question(item: Any, long: tuple[str, ...], where: str) -> Question:
    document = item.get("document") if isinstance(item, dict) else None
    if not isinstance(document, int) or isinstance(document, bool) or not 0 <= document < len(long):
        raise InputError(f"{where}: 'document' is not the index of a text under 'long'; count from 0")
    question = Question(_field(item, "question", where), document, _field(item, "answer", where))
    if question.answer not in long[document]:
        raise InputError(f"{where}: the answer does not occur word for word in long[{document}]; copy it from there")
    return question


def _field(item: Any, key: str, where: str) -> str:
    if not isinstance(item, dict) or key not in item:
        raise InputError(f"{where}: no {key!r}; the form is {FORM}")
    return _checked(item[key], f"{where}.{key}")


def _checked(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: not a text, or an empty one; write a string or leave the entry out")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: lone surrogate at character {error.start}; decode the text correctly") from error
    return value
