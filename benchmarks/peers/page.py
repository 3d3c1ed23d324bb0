"""A record and its sheet as the results page, in Markdown. All figures come from the record."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .sheet import BASES, Cell, Sheet, most_different
from .turns import SHAPE_SECONDS
from .workload import Takes

_HEADER = """# Peers, side by side

What people would use instead, measured beside this project by `benchmarks/side_by_side.py`, each table in one run. This
page is written by `benchmarks/page.py` from
{sources},
which hold every single pass; do not edit it.

{machine}

![Time as a multiple of ours in fp32]({picture})

"""
_METHOD = """## How to read it

- Every peer is a process in an environment of its own, with the same number of threads and otherwise the settings that
  it comes with. They take turns, with a rest of 0.3 s between, after a pass that is not timed; figures are medians.
  Loading and compiling are kept out; what compiling took is of when it was done, perhaps beside other work. Slow peers
  have fewer turns; a first pass of over {slow:.0f} s is the only one.
- All get the same texts: words that the tokenizer reads as one token each, so that lengths are exact. The first table
  begins with their token ids, the second with the texts: tokenizing and pooling are within its times.
- `1x128` is one text of 128 tokens; `mixed` is 32 texts of 8 to 512, {mixed} tokens. Peers get these in batches of like
  length (up to 512 padded tokens), which is several times faster than one padded batch, though few libraries do it by
  themselves; ours gets all in one call.
- The ceiling is what linear layers and full attention would take at the machine's measured rates of matrix products.
  Windows skip a part of the attention, so ours may exceed it in long texts. Rates are measured before and after.
- The vectors that were timed are compared with torch's in float32. A float32 peer that is off by more than 1e-4 fails
  the run, and so does another with a cosine below 0.95. Vectors are mean pooled and not normalised.
- No figure but `more than ...`: the peer was ended when it held more memory ({gigabytes:.0f} GB, or what the machine
  had left) or took more time ({seconds:.0f} s, three times that for 8192 tokens) than one may. `at least ...`: not
  begun, since as many tokens of shorter texts would already take too long.
- Memory is the peak of the whole process, loading included, with the shapes before it; 8192 tokens have a new process.

## What stands for what

The code that JinaBERT's checkpoints point to is not in this repository, and none is fetched. Torch runs a plain encoder
with the same weights (`jinabert_onnx_eval.baselines.plain_model`: whole biases, whole scores); the *plain export* is
what `torch.onnx.export` makes of it. sentence-transformers' torch backend has that encoder as its first module; its
onnx backend, optimum, fastembed and transformers.js read the plain export from a folder laid out for them.
sentence-transformers is the newest whose extra `onnx` can be installed: from 6.0 on it wants transformers 5, and
optimum-onnx wants less than 4.58. OpenVINO's int8 is calibrated on random tokens. Weights are random, of the published
size (`make_checkpoint.py`), so cosines of int8 and bfloat16 say that the same model ran, not how good a trained one
stays.
"""


def render(records: Mapping[str, Mapping[str, Any]], sheet: Sheet, picture: str) -> str:
    """Return the whole page, of the sheet of all records; these by their file's name."""
    record = next(iter(records.values()))
    sources = " and ".join(f"[{name}]({name})" for name in records)
    limits = record["results"]["limits"]
    method = _METHOD.format(
        mixed=sheet.tokens.get("mixed", 0),
        gigabytes=limits["megabytes"] / 1000,
        seconds=limits["seconds"],
        slow=SHAPE_SECONDS,
    )
    sections = (
        _HEADER.format(machine=_machine(record), sources=sources, picture=picture),
        tables(sheet),
        _section("What ran", _about(sheet)),
        f"{method}\n",
        _section("Commands", _commands(records.values())),
    )
    return "".join(sections).rstrip() + "\n"


def tables(sheet: Sheet) -> str:
    """Return the sections of figures: times, agreement, memory."""
    sections = {
        "Token ids to token embeddings": _table_of(sheet, "ids"),
        "Texts to vectors": _table_of(sheet, "texts"),
        "Do the vectors agree?": _vectors(sheet),
        "Memory": _memory(sheet),
    }
    return "".join(_section(title, body) for title, body in sections.items())


def _machine(record: Mapping[str, Any]) -> str:
    machine, results = record["machine"], record["results"]
    rates = results["operations_a_second"]
    line = (
        f"{record['date']}: {machine['cpu']}, {machine['cpus']} CPUs, {machine['memory_gibibytes']} GiB, "
        f"{machine['platform']}, Python {machine['python']}; {results['threads']} threads each. "
        f"Matrix products run at {rates['fp32'] / 1e9:.0f} Gop/s in float32 and {rates['int8'] / 1e9:.0f} in int8."
    )
    return textwrap.fill(line, 120)


def _table_of(sheet: Sheet, takes: Takes) -> str:
    peers, shapes = sheet.peers(takes), sheet.shapes(takes)
    if not shapes:
        return ""
    times = [[_named(peer), *(_time(sheet, peer, shape) for shape in shapes)] for peer in peers]
    ceilings = [
        [f"ceiling, {kind}", *(_figures(sheet.ceilings[takes, shape][kind]) for shape in shapes)]
        for kind in ("fp32", "int8")
    ]
    table = "Milliseconds (`*`: of one pass), and the share of the ceiling that this is.\n\n"
    table += _table(["", *shapes], [*times, *ceilings])
    if not sheet.row(BASES[takes]):
        return table
    multiples = [[_named(peer), *(_multiple(sheet.row(peer).get(shape)) for shape in shapes)] for peer in peers]
    note = f"\nThe same as multiples of `{BASES[takes]}` (below 1 is faster).\n\n"
    return table + note + _table(["", *shapes], multiples)


def _time(sheet: Sheet, peer: str, shape: str) -> str:
    cell = sheet.row(peer).get(shape)
    if cell is None:
        return sheet.missing.get((peer, shape), "-")
    once = "*" if cell.passes == 1 else ""
    return f"{_figures(cell.milliseconds)}{once} ({cell.share:.0%})"


def _multiple(cell: Cell | None) -> str:
    return "-" if cell is None or cell.multiple is None else f"{cell.multiple:.2f}"


def _figures(value: float) -> str:
    """Three figures, or all before the point."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def _vectors(sheet: Sheet) -> str:
    rows = []
    for peer in sheet.about:
        found = most_different(list(sheet.row(peer).values()))
        if found is not None:
            rows.append([_named(peer), f"{found[0]:.1e}", f"{found[1]:.6f}"])
    note = "Over all shapes: the largest difference from torch's float32, and the smallest cosine of a text.\n\n"
    return note + _table(["", "difference", "cosine"], rows) if rows else ""


def _memory(sheet: Sheet) -> str:
    return "\n".join(_memory_of(sheet, takes) for takes in BASES if sheet.shapes(takes))


def _memory_of(sheet: Sheet, takes: Takes) -> str:
    shapes = sheet.memory_shapes(takes)
    rows = [[_named(peer), *(_megabytes(sheet, peer, shape) for shape in shapes)] for peer in sheet.peers(takes)]
    return _table([f"from {takes}, peak MB", *(f"by `{shape}`" for shape in shapes)], rows)


def _megabytes(sheet: Sheet, peer: str, shape: str) -> str:
    cell = sheet.row(peer).get(shape)
    return sheet.missing.get((peer, shape), "-") if cell is None else f"{cell.peak_megabytes:,.0f}"


_NOT_VERSIONS = ("setting", "takes", "int8", "load_milliseconds", "compile_milliseconds")


def _about(sheet: Sheet) -> str:
    rows = []
    for peer, about in sheet.about.items():
        told = ", ".join(f"{name} {value}" for name, value in about.items() if name not in _NOT_VERSIONS)
        loading = f"{about['load_milliseconds'] / 1000:.1f}" if "load_milliseconds" in about else "-"
        compiling = f"{about['compile_milliseconds'] / 1000:.0f}" if "compile_milliseconds" in about else ""
        rows.append([_named(peer), about["setting"], told, loading, compiling])
    return _table(["", "what", "versions", "load, s", "compiling the first time, s"], rows)


def _commands(records: Iterable[Mapping[str, Any]]) -> str:
    lines = (
        "make peers .venv/ready",
        ".venv/bin/python benchmarks/make_checkpoint.py build/base",
        ".venv/bin/jinabert-onnx export build/base build/base-bundle --precision fp32 int8",
        *(record["command"].replace("python ", ".venv/bin/python ", 1) for record in records),
        ".venv/bin/python benchmarks/page.py",
    )
    return "\n".join(f"    {line}" for line in lines) + "\n"


def _named(peer: str) -> str:
    return f"**`{peer}`**" if "ours" in peer else f"`{peer}`"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}\n" if body else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
