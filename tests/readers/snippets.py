"""The snippets of a page, with other inputs or another precision put in, and the environments that they run in."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinabert_onnx.text.pairs import TextOrPair
from numpy.typing import NDArray
from support.paths import ROOT

NODE = ROOT / ".venv-peers-node"
PATIENCE = 600.0  # seconds that nothing here should take
# Whatever a library would fetch is an error: nothing listens there.
NOWHERE = "http://127.0.0.1:9"

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Job:
    """A snippet, the directory that it runs in, where its result goes, and the variable that holds it."""

    code: str
    directory: Path
    output: Path
    result: str = "vectors"


def sections(page: str) -> dict[str, list[str]]:
    """The code of each headed section of a page in docs/."""
    parts = re.split(r"^## (.*)\n", (ROOT / "docs" / page).read_text("utf-8"), flags=re.MULTILINE)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return {name: re.findall(r"^```(?:python|js)\n(.*?)^```", text, re.M | re.S) for name, text in pairs}


def with_texts(code: str, texts: Sequence[str]) -> str:
    """The same for other texts than those of the page."""
    escaped = json.dumps(texts).replace("\\", r"\\")
    return _replaced(r"^((?:const )?texts = )\[.*\]", rf"\g<1>{escaped}", code)


def with_pairs(code: str, pairs: Sequence[TextOrPair]) -> str:
    """The same for other pairs, or single texts, than those of the page."""
    shown = json.dumps(pairs) if "const pairs" in code else repr(list(pairs))
    escaped = shown.replace("\\", r"\\")
    return _replaced(r"^((?:const )?pairs = )\[.*\]", rf"\g<1>{escaped}", code)


def with_precision(code: str, precision: str) -> str:
    """The same for another file of the bundle."""
    if precision == "fp32":
        return code
    if "dtype: 'fp32'" in code:
        return _replaced("dtype: 'fp32'", f"dtype: '{precision}'", code)
    return _replaced(r"model\.onnx", f"model_{precision}.onnx", code)


def with_width(code: str, width: int) -> str:
    """The same for a model of another hidden size, where the snippet names it."""
    return re.sub(r"\bdim=256,", f"dim={width},", code)


def run_python(environment: str, jobs: Sequence[Job]) -> None:
    """Run the jobs one after the other in one process of an environment."""
    content = json.dumps([{name: str(value) for name, value in vars(job).items()} for job in jobs])
    python = ROOT / environment / "bin" / "python"
    _run([str(python), str(Path(__file__).with_name("run_snippets.py"))], content)


def run_node(job: Job) -> None:
    """Run a job in Node, with the packages of the locked environment."""
    script = job.output.with_suffix(".mjs")
    packages = script.with_name("node_modules")
    if not packages.exists():
        packages.symlink_to(NODE / "node_modules")
    answer = job.output.with_suffix(".json")
    saving = f"import {{ writeFileSync }} from 'node:fs';\nwriteFileSync('{answer}', JSON.stringify({job.result}));\n"
    script.write_text(job.code + saving, encoding="utf-8")
    _run(["node", str(script)], cwd=job.directory)
    np.save(job.output, np.array(json.loads(answer.read_text("utf-8")), np.float32))


def _run(command: list[str], content: str | None = None, cwd: Path | None = None) -> None:
    surroundings = os.environ | {"HF_HUB_OFFLINE": "1", "HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE}
    done = subprocess.run(
        command, input=content, cwd=cwd, env=surroundings, capture_output=True, encoding="utf-8", timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr


def _replaced(pattern: str, replacement: str, code: str) -> str:
    replaced, count = re.subn(pattern, replacement, code, flags=re.MULTILINE)
    assert count == 1, f"{pattern} is there {count} times"
    return replaced
