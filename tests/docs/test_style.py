"""What the page on style quotes stands in the repository as quoted."""

from __future__ import annotations

import re

import pytest
from support.paths import ROOT

PAGE = ROOT / "docs/contributing/style.md"


def quotes() -> list[tuple[str, str]]:
    """Return the path and the text of each quote; only the commit's message has no path."""
    return re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)


def lines(text: str) -> str:
    """Return the text without indentation, which a quote of a part may lose."""
    return "\n".join(line.strip() for line in text.strip().splitlines())


@pytest.mark.parametrize(("path", "quote"), quotes())
def test_quotes_stand_in_the_file_that_the_page_names(path: str, quote: str) -> None:
    assert f"\n{lines(quote)}\n" in f"\n{lines((ROOT / path).read_text('utf-8'))}\n"


def test_every_quote_of_code_names_its_file() -> None:
    text = PAGE.read_text("utf-8")
    assert len(quotes()) == text.count("```python\n") + text.count("```text\n| ") > 0
