"""The measuring commands of the documentation run as they stand, with a small model in place of the large one.

Held to are benchmarks/README.md, which lists every script, docs/reference/results.md, which has the measuring commands
of `jinabert-onnx`, and every page that names a script. Guides are held to in tests/bench and tests/eval.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from support.paths import ROOT
from support.python import run_command, run_python
from support.references import write_few_texts

BENCHMARKS = ROOT / "benchmarks"
LIST = BENCHMARKS / "README.md"
RESULTS = ROOT / "docs" / "reference" / "results.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SMALL = {  # what documented commands name, and what stands for it here
    "build/base": "tests/data/tiny-de-en",
    "build/base-bundle": "build/bundles/tiny-de-en",
    "build/small-bundle": "build/bundles/tiny-de-en",
    "build/turbo": "tests/data/tiny-de-en-reranker",
    "build/turbo-bundle": "build/bundles/tiny-de-en-reranker",
}
SHORT = {  # makes a run short, changes nothing else
    "on_cuda.py": "--rehearse --lengths 16 --batches 1",
    "rerank.py": "--rounds 1",
    "rerank_quality.py": "--queries 5",
    "serve_mixed.py": "--clients 1 --warm-up 1 --seconds 8",
}
SHORT_BENCH = "--seconds 1 --rounds 2 --length 16 --batch-size 1 --precision int8"
ELSEWHERE = ("side_by_side.py", "make_checkpoint.py")  # tests/peers and tests/export run them


def documented() -> dict[str, str]:
    """The list's command of each script, by the script's name, without what makes environments and bundles."""
    lines = re.findall(r"^    \.venv/bin/python benchmarks/(.*?)(?:\s+#.*)?$", LIST.read_text("utf-8"), re.MULTILINE)
    return {line.split()[0]: line for line in lines}


def runnable() -> list[str]:
    return sorted(set(documented()) - set(ELSEWHERE))


def arguments_of(name: str, directory: Path) -> list[str]:
    """The documented arguments for the small model, what a script writes going to `directory`."""
    words = shlex.split(documented()[name])[1:]
    words = [SMALL.get(word, word) for word in words]
    words = [
        str(directory / word) if word.startswith("build/") and word not in SMALL.values() else word for word in words
    ]
    return [*words, *shlex.split(SHORT.get(name, ""))]


def measuring() -> list[str]:
    """Return the commands that measure a bundle; that of mteb, which is not installed here, runs in tests/eval."""
    lines = re.findall(r"^    jinabert-onnx ((?:bench|eval) .*?)(?:\s+#.*)?$", RESULTS.read_text("utf-8"), re.M)
    return [line for line in lines if not line.startswith("eval mteb")]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the measuring commands name: a bundle, texts, and two results of `bench`."""
    directory = tmp_path_factory.mktemp("workplace")
    (directory / "bundle").symlink_to(ROOT / SMALL["build/base-bundle"])
    write_few_texts(directory / "texts.json")
    done = run_command(*shlex.split(f"bench bundle --quick {SHORT_BENCH} --output before"), cwd=directory)
    assert done.returncode == 0, done.stderr
    shutil.copytree(directory / "before", directory / "after")  # nothing can be slower, however busy the machine is
    return directory


def test_every_benchmark_is_documented():
    scripts = {path.name for path in BENCHMARKS.glob("*.py") if "argparse" in path.read_text("utf-8")}
    assert scripts == set(documented())


def test_every_script_that_a_page_names_is_documented():
    named = {name for page in PAGES for name in re.findall(r"`benchmarks/([\w/]+\.py)", page.read_text("utf-8"))}
    assert named
    assert named <= set(documented())


@pytest.mark.parametrize("name", runnable())
def test_documented_benchmark_runs(name: str, tmp_path: Path):
    arguments = arguments_of(name, tmp_path)
    done = run_python(BENCHMARKS / name, *arguments, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["benchmark"] == Path(name).stem
    assert last["results"]


@pytest.mark.parametrize("line", measuring())
def test_measuring_command_of_the_results_runs(line: str, workplace: Path):
    line = f"{line} {SHORT_BENCH}" if line.startswith("bench bundle") else line
    done = run_command(*shlex.split(line), cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert done.stdout
