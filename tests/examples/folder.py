"""A folder of German and English text, of the held-out texts of the trained checkpoint.

Their sources and licences: tests/data/tiny-de-en/README.md. Of each pair one language goes into the folder, so that
what is asked in the other cannot be found by its words.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from support.paths import CHECKPOINT

PARAGRAPHS = 10  # of a document
LONG_DOCUMENTS = 4  # of over 1000 tokens each


@dataclass(frozen=True)
class Question:
    """A text in one language, and the text of the same meaning that the folder has in the other."""

    text: str
    language: str
    partner: str


def write_folder(folder: Path) -> list[Question]:
    """Write every pair and a few long documents; the questions are the sides of the pairs that were left out."""
    content = json.loads((CHECKPOINT / "heldout.json").read_text("utf-8"))
    documents: dict[tuple[str, str], list[str]] = defaultdict(list)  # by language and source
    questions = []
    for index, pair in enumerate(content["pairs"]):
        inside, outside = ("de", "en") if index % 2 else ("en", "de")
        documents[inside, pair["source"]].append(pair[inside])
        questions.append(Question(pair[outside], outside, pair[inside]))
    for (language, source), paragraphs in documents.items():
        (folder / language).mkdir(parents=True, exist_ok=True)
        for start in range(0, len(paragraphs), PARAGRAPHS):
            name = f"{re.sub(r'[^a-z0-9]+', '-', source)}-{start // PARAGRAPHS + 1}.md"
            text = "\n\n".join(paragraphs[start : start + PARAGRAPHS])
            (folder / language / name).write_text(f"{text}\n", "utf-8")
    (folder / "long").mkdir()
    for number, text in enumerate(sorted(content["long"], key=len)[:LONG_DOCUMENTS], 1):
        (folder / "long" / f"{number}.txt").write_text(text, "utf-8")
    return questions
