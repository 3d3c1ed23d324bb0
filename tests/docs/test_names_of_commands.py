"""What commands in any page's blocks and prose name exists: targets of make, subcommands, options, scripts and files.

Nothing is run here; test_examples and tests/commands run commands. The changelog may name what was removed.
"""

from __future__ import annotations

import argparse
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from jinabert_onnx.cli.main import _commands, _parser
from support.paths import ROOT

FOLDERS = ("", ".github", "benchmarks", "deploy", "docs", "examples", "native")
PAGES = sorted(
    {path for folder in FOLDERS for path in (ROOT / folder).glob("*.md")}
    | {path for folder in ("docs", "examples") for path in (ROOT / folder).rglob("*.md")}
)
OWN_FILES = [path for path in PAGES if path.parent.name in ("benchmarks", "native")]  # name files of their own folder
PLACES = re.compile(r"(?:benchmarks|deploy|docs|examples|export|native|requirements|runtime|tests|\.github)/[\w./*-]+")
FILE = re.compile(r"[\w./*-]+\.(?:cc|h|json|md|mjs|py|txt)")
OWN = ("bench", "embed", "eval", "info", "serve", "verify")  # subcommands that prose names by themselves
COMMAND = rf"(?:(?:\S*/bin/)?jinabert-onnx (?=\S)|(?=(?:{'|'.join(OWN)}) .*--))(.*)"
SCRIPT = r"(?:\S*python3? )?((?:benchmarks|deploy|examples|native)/[\w/]+\.py\b.*)"


def blocks(page: Path) -> list[str]:
    """Return the lines of indented and fenced blocks, continued ones joined, comments taken off."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    fenced = "\n".join(re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.M | re.S))
    lines = [*re.findall(r"^ {4,}(\S.*)$", text, re.M), *fenced.splitlines()]
    return [re.split(r"(?:^|\s+)# ", line)[0].strip() for line in lines]


def spans(page: Path) -> list[str]:
    """Return what stands between backticks in running text, on one line or over two."""
    text = re.sub(r"^```.*?^```|^ {4}[^\n]*$", "", page.read_text("utf-8"), flags=re.M | re.S)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def named(pattern: str) -> list[tuple[str, str]]:
    """Return (page, rest of the command) of each block's line and each span that `pattern` begins."""
    return sorted(
        {
            (str(page.relative_to(ROOT)), match[1])
            for page in PAGES
            for command in (*blocks(page), *spans(page))
            if (match := re.match(pattern, command))
        }
    )


def targets() -> set[str]:
    """Return the targets of the Makefile."""
    text = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    variables = dict(re.findall(r"^(\w+) := (.*)$", text, re.M))
    text = re.sub(r"\$\((\w+)\)", lambda match: variables.get(match[1], match[0]), text)
    rules = re.findall(r"^([^\s#=:][^#=:\n]*):(?!=)", text, re.M)
    return {word for rule in rules for word in rule.split()}


@cache
def parser_of_all() -> argparse.ArgumentParser:
    return _parser(_commands())


def parser_of(words: list[str]) -> argparse.ArgumentParser:
    """Return the parser of the subcommand that `words` begin with, or of the subcommand of that.

    Raises:
        KeyError: there is no such subcommand.
    """
    parser = parser_of_all()
    while actions := [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]:
        name = words.pop(0) if words else "--help"
        if name.startswith("-"):
            break
        parser = actions[0].choices["run" if parser.prog.endswith("bench") and name != "compare" else name]
    return parser


@pytest.mark.parametrize(("page", "rest"), named(r"make ([^;&|]+)"))
def test_targets_exist(page: str, rest: str) -> None:
    assert {word for word in rest.split() if "=" not in word} <= targets()


@pytest.mark.parametrize(("page", "rest"), [(page, rest) for page, rest in named(COMMAND) if page != "CHANGELOG.md"])
def test_subcommands_and_options_exist(page: str, rest: str) -> None:
    words = shlex.split(rest.replace("[", " ").replace("]", " "))
    known = parser_of(words)._option_string_actions
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= set(known)


@pytest.mark.parametrize(("page", "command"), named(SCRIPT))
def test_scripts_and_their_options_exist(page: str, command: str) -> None:
    script, *words = command.split()
    source = (ROOT / script).read_text("utf-8")
    assert not [word for word in words if word.startswith("--") and f'"{word}"' not in source]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_the_repository_exist(page: Path) -> None:
    words = {word for command in (*blocks(page), *spans(page)) for word in re.split(r"[\s'\"=:,()]+", command)}
    places = {word.rstrip(".") for word in words if PLACES.fullmatch(word) and not re.search(r"[A-Z]{4}", word)}
    assert not [place for place in sorted(places) if not list(ROOT.glob(place.rstrip("/")))]


@pytest.mark.parametrize("page", OWN_FILES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_the_pages_own_folder_exist(page: Path) -> None:
    files = {span for span in spans(page) if FILE.fullmatch(span)}
    assert files
    assert not [name for name in sorted(files) if not [*page.parent.rglob(name), *ROOT.glob(name)]]


def test_options_of_cmake_exist() -> None:
    options = re.findall(r"-D(\w+)=", (ROOT / "native/README.md").read_text("utf-8"))
    assert options
    assert all(f"option({option} " in (ROOT / "native/CMakeLists.txt").read_text("utf-8") for option in options)


def test_names_that_do_not_exist_are_noticed() -> None:
    assert {"demo", "test", "test-docs", ".venv/ready", "build/bundles/ready", ".venv-eval/ready"} <= targets()
    assert "test-nothing" not in targets()
    with pytest.raises(KeyError):
        parser_of(["embedd", "bundle"])
    assert "--workload" not in parser_of(["bench", "bundle"])._option_string_actions
    assert "--max-slowdown" in parser_of(["bench", "compare", "before", "after"])._option_string_actions
