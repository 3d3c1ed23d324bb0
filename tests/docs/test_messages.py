"""Every message that the page of troubleshooting quotes is one that the code says.

Each is compared with the texts in the source, whose `{...}` stand for anything; many are also brought about.
"""

from __future__ import annotations

import ast
import multiprocessing
import pickle
import re
import shutil
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import Embedder, TruncationWarning, compatible
from jinabert_onnx.bundle.archive import unpack
from jinabert_onnx.errors import JinaBertError
from jinabert_onnx_export import export

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/troubleshooting.md"
LEAST = 9  # characters of its own that a text must have to tell a message
WORDS = 3  # from which on what is filled into a message is a sentence
OF_OTHERS = (  # what huggingface_hub says
    "Cannot send a request",
    "Cannot find an appropriate cached snapshot folder",
)


def quoted() -> list[str]:
    blocks = re.findall(r"^```text\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


def pattern_of(node: ast.expr) -> str | None:
    """A regular expression for what a string in the source can become; None where it says too little."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value) if len(node.value) >= LEAST else None
    if not isinstance(node, ast.JoinedStr):
        return None
    words = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
    if sum(len(word) for word in words if isinstance(word, str)) < LEAST:
        return None
    pattern = ""
    for word in words:
        in_brackets = pattern.count(r"\(") > pattern.count(r"\)")
        pattern += re.escape(str(word)) if word is not None else ".*" if in_brackets else "(.*)"
    return pattern


@cache
def patterns() -> list[re.Pattern[str]]:
    sources = [path for folder in ("runtime", "export") for path in sorted((ROOT / folder).rglob("*.py"))]
    nodes = (node for path in sources for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    found = {pattern for node in nodes if isinstance(node, ast.expr) and (pattern := pattern_of(node))}
    return [re.compile(pattern) for pattern in sorted(found)]


def is_known(message: str) -> bool:
    """Whether the code says this; where it fills in a sentence, it must say that one too."""
    matches = (match for pattern in patterns() if (match := pattern.fullmatch(message)))
    return any(all(is_value(filled) or is_known(filled) for filled in match.groups()) for match in matches)


def is_value(text: str) -> bool:
    """Whether these are names or numbers and no sentence, but for what stands in brackets."""
    names = re.sub(r"\(.*?\)", "", text).split(", ")
    return all(len(name.split()) < WORDS for name in names) or text in OF_OTHERS


@pytest.mark.parametrize("message", quoted())
def test_quoted_messages_are_in_the_code(message: str) -> None:
    assert is_known(message), message


@pytest.mark.parametrize(
    "message",
    [
        "bundle: something went wrong; try again later",
        "bundle.tar: not a tar file, or a damaged one (truncated header); copy the archive again",
        "bundle/tokenizer.json: somehow not as it was; export or download the bundle again",
    ],
)
def test_other_words_are_not_taken_for_messages(message: str) -> None:
    assert not is_known(message)


def _loaded_copy(workplace: Path, change: Callable[[Path], object]) -> None:
    target = Path(shutil.copytree((workplace / "bundle").resolve(), workplace / "copy"))
    change(target)
    Embedder.load(target)


def _set_schema(bundle: Path, schema: int) -> None:
    path = bundle / "manifest.json"
    path.write_text(path.read_text("utf-8").replace('"schema": 2', f'"schema": {schema}'), encoding="utf-8")


BROUGHT_ABOUT: dict[str, Callable[[Path], object]] = {
    "no such directory": lambda place: Embedder.load(place / "bundel" / "x"),
    "not a bundle, there is no manifest.json": lambda place: Embedder.load(place / "checkpoint"),
    "schema 1 is of an older version": lambda place: _loaded_copy(place, lambda copy: _set_schema(copy, 1)),
    "schema 3 is newer than this version reads": lambda place: _loaded_copy(place, lambda copy: _set_schema(copy, 3)),
    "missing from the bundle": lambda place: _loaded_copy(place, lambda copy: (copy / "onnx/model.onnx").unlink()),
    "134 bytes where the manifest says": lambda place: _loaded_copy(
        place, lambda copy: (copy / "onnx/model.onnx").write_bytes(b"x" * 134)
    ),
    "revision main is for hub ids": lambda place: Embedder.load(place / "bundle", revision="main"),
    "int8 has no CUDA kernels": lambda place: Embedder.load(place / "bundle", precision="int8", provider="cuda"),
    "the installed onnxruntime has no CUDA provider": lambda place: Embedder.load(place / "bundle", provider="cuda"),
    "is unknown; use one of auto, fp32": lambda place: Embedder.load(place / "bundle", precision="int4"),
    "takes 540 MB before any work": lambda place: Embedder.load(place / "bundle", max_memory="10MB"),
    "is not a size; write it like": lambda place: Embedder.load(place / "bundle", max_memory="800 apples"),
    "is NoneType, not str": lambda place: Embedder.load(place / "bundle").encode(["a", "b", "c", None]),  # type: ignore[list-item]
    "iterable of str, not int": lambda place: Embedder.load(place / "bundle").encode(5),  # type: ignore[call-overload]
    "not DataFrame; pass one column": lambda place: Embedder.load(place / "bundle").encode({"a": "b"}),
    "is not where this model runs": lambda place: Embedder.load(place / "bundle").encode("a", device="cuda"),
    "cannot be pickled or copied": lambda place: pickle.dumps(Embedder.load(place / "bundle")),
    "is not valid Unicode: lone surrogate": lambda place: Embedder.load(place / "bundle").encode("abcd\ud800"),
    "more than the limit of": lambda place: Embedder.load(place / "bundle").encode(
        "word " * 20, max_length=8, truncation="error"
    ),
    "max_length is 9000": lambda place: Embedder.load(place / "bundle").encode("a", max_length=9000),
    "prompt_name 'query' is unknown": lambda place: Embedder.load(place / "bundle").encode("a", prompt_name="query"),
    "dimensions per byte, and 100 is not": lambda place: Embedder.load(place / "bundle").encode(
        "a", truncate_dim=100, output_dtype="binary"
    ),
    "name the output_dtype they were made with": lambda _: Embedder.similarity(
        np.ones((1, 8), np.int8), np.ones((1, 8), np.int8)
    ),
    "cannot be compared; use one truncate_dim": lambda _: Embedder.similarity(
        np.ones((1, 256), np.float32), np.ones((1, 128), np.float32)
    ),
    "is empty; its end must lie after": lambda place: Embedder.load(place / "bundle").encode_chunks(
        "Some words.", [(0, 4), (5, 5)]
    ),
    "not done within 5 seconds": lambda place: Embedder.load(place / "bundle").encode("word " * 8000, timeout=0.01),
    "this model is closed": lambda place: _closed(place / "bundle").encode("a"),
    "is no fingerprint; one is": lambda _: compatible("abc", "abc"),
    "not a checkpoint, there is no config.json": lambda place: export(place, place / "out"),
    "not a tar file, or a damaged one": lambda place: unpack(place / "texts.json", place / "elsewhere"),
    "exists already; give another path": lambda place: export(place / "checkpoint", place / "bundle"),
}


def _closed(bundle: Path) -> Embedder:
    model = Embedder.load(bundle)
    model.close()
    return model


def _shape(message: str) -> list[str]:
    """The words of a message without numbers, names and what stands in brackets."""
    return [word for word in re.sub(r"\(.*?\)", "", message).split() if re.fullmatch(r"[a-zA-Z-]+[;,:]?", word)]


@pytest.mark.parametrize("words", BROUGHT_ABOUT)
def test_messages_come_about_as_quoted(words: str, workplace: Path) -> None:
    (line,) = [line for line in quoted() if words in line]
    with pytest.raises(JinaBertError) as caught:
        BROUGHT_ABOUT[words](workplace)
    assert _shape(str(caught.value))[-3:] == _shape(line)[-3:]


def test_warning_of_cut_texts_comes_about_as_quoted(workplace: Path) -> None:
    model = Embedder.load(workplace / "bundle")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.encode(["word " * 20], max_length=8)
    (message,) = [str(one.message) for one in caught if one.category is TruncationWarning]
    (line,) = [line for line in quoted() if "were cut to" in line]
    assert re.sub(r"\d+", "N", message) == re.sub(r"\d+", "N", line)


def test_message_of_a_hub_id_that_is_not_cached_comes_about_as_quoted() -> None:
    (line,) = [line for line in quoted() if "in the hub's cache failed" in line]
    with pytest.raises(JinaBertError) as caught:
        Embedder.load("owner/name", local_files_only=True)
    told, _, _ = line.partition(" failed: ")  # what follows are huggingface_hub's words
    assert str(caught.value).startswith(f"{told} failed: ")


def _encode_in_child(model: Embedder, told: multiprocessing.SimpleQueue[str]) -> None:
    try:
        model.encode("a")
    except JinaBertError as error:
        told.put(str(error))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_message_of_a_forked_child_comes_about_as_quoted(workplace: Path) -> None:
    context = multiprocessing.get_context("fork")
    told: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    child = context.Process(target=_encode_in_child, args=(Embedder.load(workplace / "bundle"), told))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert told.get() in quoted()
