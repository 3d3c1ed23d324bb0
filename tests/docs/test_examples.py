"""The Python of the pages runs as it stands; lines of commands are what the real parser takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import DOCS
from jinabert_onnx.cli.main import _commands, _parse, _parser
from support.paths import ROOT
from support.python import run_python

# Their own parts test them: tests/frameworks, tests/readers, tests/corpus, tests/examples, test_style.
ELSEWHERE = {"frameworks.md", "other-runtimes.md", "migration.md", "corpora.md", "examples.md", "style.md"}
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if path.name not in ELSEWHERE)]

# What an example takes from the text before it.
BEFORE = {
    "found = model.encode_with_report(": (
        "from jinabert_onnx import Embedder\n"
        "model = Embedder.load('bundle')\n"
        "texts, lines = ['How is the weather today?'], ['one', 'two']\n"
        "document = 'Berlin is the capital of Germany. ' * 20\n"
    ),
    "from jinabert_onnx import Cancellation, Embedder": "texts = ['How is the weather today?']\n",
}
RUN_ELSEWHERE = {
    "from openai import OpenAI": "tests/clients, against a live server",
    "from jinabert_onnx_export import export": "test_exporting_from_python, with fewer calibration texts",
    "from jinabert_onnx_eval.cloze import": "tests/eval",
    "# words.py": "tests/eval",
    "import mteb\n": "needs a task's data, which is downloaded",
    "from datasets import Dataset": "tests/eval, where mteb is installed",
    "from jinabert_onnx.bench import Wanted": "tests/bench",
}


def examples(language: str) -> list[tuple[str, str]]:
    """Each fenced block of `language`: a name for it, and its text."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for block in re.finditer(rf"^```{language}\n(.*?)^```", text, re.M | re.S):
            line = text.count("\n", 0, block.start()) + 1
            found.append((f"{page.relative_to(ROOT)}:{line}", block[1]))
    return found


def commands() -> list[tuple[str, str]]:
    """Each line of the pages that begins with `jinabert-onnx`, continued ones joined, comments taken off."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8").replace("\\\n", " ")
        for line in re.finditer(r"^ {4,}(?:cat \S+ \| )?(jinabert-onnx [a-z].*)$", text, re.M):
            found.append((str(page.relative_to(ROOT)), re.split(r"\s+# ", line[1])[0].strip()))
    return found


def runnable(code: str) -> bool:
    return not any(start in code for start in RUN_ELSEWHERE)


PYTHON = [pytest.param(code, id=name) for name, code in examples("python") if runnable(code)]
LINES = sorted({line for _, line in commands() if "[--" not in line})
CHEAP = [  # run as they stand, in the order of a reader of the first page
    'jinabert-onnx embed bundle "How is the weather today?" "Wie ist das Wetter heute?"',
    "jinabert-onnx info bundle",
    "jinabert-onnx info bundle --run",
    "jinabert-onnx verify bundle",
]


@pytest.mark.parametrize("code", PYTHON)
def test_examples_run_as_they_stand(code: str, workplace: Path) -> None:
    before = "".join(lines for start, lines in BEFORE.items() if start in code)
    run(workplace, "-W", "error", "-c", before + code)


def run(workplace: Path, *arguments: str) -> str:
    """Return what Python prints, which must end well."""
    done = run_python(*arguments, cwd=workplace)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_line(workplace: Path, line: str) -> str:
    """Return what a documented command prints."""
    assert line in LINES
    return run(workplace, "-m", "jinabert_onnx", *shlex.split(line)[1:])


def test_exporting_from_python(workplace: Path) -> None:
    (code,) = [code for name, code in examples("python") if name.startswith("docs/guides/exporting.md")]
    run(workplace, "-c", code)
    assert (workplace / "exported/onnx/model_int8.onnx").is_file()


def test_examples_that_run_elsewhere_are_still_there() -> None:
    codes = [code for _, code in examples("python")]
    for start in [*BEFORE, *RUN_ELSEWHERE]:
        assert any(start in code for code in codes), start


@pytest.mark.parametrize("line", LINES)
def test_commands_are_what_the_parser_takes(line: str) -> None:
    words = shlex.split(line)
    _parse(_parser(_commands()), words[1:])


@pytest.mark.parametrize("line", CHEAP)
def test_commands_that_are_cheap_run(line: str, workplace: Path) -> None:
    assert run_line(workplace, line)


def test_packing_and_unpacking_as_documented(workplace: Path) -> None:
    for line in ("jinabert-onnx pack bundle bundle.tar", "jinabert-onnx unpack bundle.tar elsewhere"):
        run_line(workplace, line)
    assert (workplace / "elsewhere/manifest.json").is_file()
