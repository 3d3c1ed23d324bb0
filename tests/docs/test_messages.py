"""Every message that the page of troubleshooting quotes is one that the code says.

Each is compared with the texts in the source, whose `{...}` stand for anything; the suites of what says them bring them
about.
"""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from support.paths import ROOT

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
