"""Text that `demo` prints of a bundle: cosines of German and English texts, and the commands that go on from there."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from jinabert_onnx import Embedder

_PAIRS = (
    ("How is the weather today?", "Wie ist das Wetter heute?"),
    ("Where is the nearest train station?", "Wo ist der nächste Bahnhof?"),
    ("How do I reset my password?", "Wie setze ich mein Passwort zurück?"),
    ("The meeting has been moved to Friday.", "Die Besprechung wurde auf Freitag verschoben."),
    ("My printer does not work.", "Mein Drucker funktioniert nicht."),
)
_ENGLISH, _GERMAN = zip(*_PAIRS, strict=True)
_REQUEST = """'{"input": ["How is the weather today?", "Wie ist das Wetter heute?"], "dimensions": 8}'"""


def german_texts() -> str:
    """List the German texts by the numbers that head the columns of `similarities`."""
    lines = (f"{number} {text}" for number, text in enumerate(_GERMAN, start=1))
    return "\n".join(("The German texts:", *lines))


def similarities(model: Embedder) -> str:
    """Make a table of 80 columns: cosine of each English text (row) with each German text (column)."""
    cosines = model.similarity(model.encode(_ENGLISH), model.encode(_GERMAN))
    lines = [" " * 39 + "".join(f"{number:5}   " for number in range(1, len(_GERMAN) + 1))]
    for number, (text, row) in enumerate(zip(_ENGLISH, cosines, strict=True), start=1):
        best = row.argmax()
        cells = (f"{value:6.3f}{' <' if column == best else '  '}" for column, value in enumerate(row))
        lines.append(f"{number} {text:<37}" + "".join(cells))
    return "\n".join(line.rstrip() for line in lines)


def next_steps(bundle: Path) -> str:
    """Return commands for a shell, each in a line of its own behind four spaces, that run where this process ran."""
    program, name = _program(), shlex.quote(str(bundle))
    return f"""\
The bundle stays at {bundle}. Go on with:

Embed two texts (the first 8 numbers of each vector):
    {program} embed {name} "{_ENGLISH[0]}" "{_GERMAN[0]}" --truncate-dim 8

See what is in the bundle, and what runs here:
    {program} info {name} --run

Measure speed and memory, in under a minute:
    {program} bench {name} --quick

Serve it until Ctrl-C, and ask it from another terminal:
    {program} serve {name}
    curl -sf http://127.0.0.1:8080/v1/embeddings -H 'Content-Type: application/json' -d {_REQUEST}"""


def _program() -> str:
    """Return how this program was called, quoted for a shell: by its name where that finds it, else by its path."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m jinabert_onnx"
    on_path = shutil.which(called.name)
    by_name = on_path is not None and called.exists() and Path(on_path).samefile(called)
    return shlex.quote(called.name if by_name else sys.argv[0])
