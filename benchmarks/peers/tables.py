"""The results of a run as Markdown: by what peers take, their times, the same as multiples of ours, and the peers.

RESULTS.md holds these tables of the committed runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .workload import QUICK_SHAPES, SHAPES, Takes

Results = Mapping[str, Any]

_TITLES: Mapping[Takes, str] = {"ids": "Token ids to token embeddings", "texts": "Texts to vectors"}
_BASES: Mapping[Takes, str] = {"ids": "ours-fp32", "texts": "ours-fp32-texts"}  # what times are told as multiples of
_ALONE = {shape.name for shape in (*SHAPES, *QUICK_SHAPES) if shape.alone}
_TIMES = "Milliseconds (`*`: of one pass), and the share of the ceiling that this is."
_PEERS = (
    "Largest difference from torch's float32, smallest cosine of a text, peak of the process in MB, seconds to load."
)
_NOT_VERSIONS = ("setting", "takes", "int8", "load_milliseconds", "compile_milliseconds")


def render(results: Results) -> str:
    """Return a section for the peers that take ids, and one for those that take texts."""
    return "\n".join(section(results, takes) for takes in _TITLES if _shapes(results, takes))


def _peers(results: Results, takes: Takes) -> list[str]:
    return [name for name, about in results["peers"].items() if about["takes"] == takes]


def _shapes(results: Results, takes: Takes) -> list[str]:
    """Every shape that a peer of this section ran."""
    peers = _peers(results, takes)
    return [name for name, shape in results["shapes"].items() if any(peer in shape["peers"] for peer in peers)]


def section(results: Results, takes: Takes) -> str:
    """Return the tables of the peers that take `takes`."""
    peers, shapes = _peers(results, takes), _shapes(results, takes)
    times = [[_named(peer), *(_time(results, peer, shape) for shape in shapes)] for peer in peers]
    times += [
        [f"ceiling, {kind}", *(_figures(results["shapes"][shape]["ceiling_milliseconds"][kind]) for shape in shapes)]
        for kind in ("fp32", "int8")
    ]
    base = _BASES[takes]
    multiples = [[_named(peer), *(_multiple(results, peer, shape, base) for shape in shapes)] for peer in peers]
    return (
        f"## {_TITLES[takes]}\n\n{_TIMES}\n\n{_table(['', *shapes], times)}\n"
        f"The same as multiples of `{base}` (below 1 is faster).\n\n{_table(['', *shapes], multiples)}\n"
        f"{_PEERS}\n\n{_about(results, peers, shapes)}"
    )


def _time(results: Results, peer: str, shape: str) -> str:
    measured = results["shapes"][shape]
    if peer not in measured["peers"]:
        return str(measured["missing"].get(peer, "-"))
    found = measured["peers"][peer]
    kind = "int8" if results["peers"][peer]["int8"] else "fp32"
    share = measured["ceiling_milliseconds"][kind] / found["milliseconds"]
    return f"{_figures(found['milliseconds'])}{'*' if len(found['passes']) == 1 else ''} ({share:.0%})"


def _multiple(results: Results, peer: str, shape: str, base: str) -> str:
    ran = results["shapes"][shape]["peers"]
    return f"{ran[peer]['milliseconds'] / ran[base]['milliseconds']:.2f}" if peer in ran and base in ran else "-"


def _about(results: Results, peers: Sequence[str], shapes: Sequence[str]) -> str:
    shared = [shape for shape in shapes if shape not in _ALONE]
    held = [*shared[-1:], *(shape for shape in shapes if shape in _ALONE)]
    rows = []
    for peer in peers:
        about = results["peers"][peer]
        versions = ", ".join(f"{name} {value}" for name, value in about.items() if name not in _NOT_VERSIONS)
        loading = f"{about['load_milliseconds'] / 1000:.1f}" if "load_milliseconds" in about else "-"
        memory = (_megabytes(results, peer, shape) for shape in held)
        rows.append([_named(peer), about["setting"], *_agreement(results, peer), *memory, loading, versions])
    return _table(["", "what", "difference", "cosine", *(f"MB, `{shape}`" for shape in held), "load", "versions"], rows)


def _agreement(results: Results, peer: str) -> tuple[str, str]:
    ran = [shape["peers"][peer] for shape in results["shapes"].values() if peer in shape["peers"]]
    compared = [found for found in ran if "cosine" in found]
    if not compared:
        return "-", "-"
    return f"{max(row['difference'] for row in compared):.1e}", f"{min(row['cosine'] for row in compared):.6f}"


def _megabytes(results: Results, peer: str, shape: str) -> str:
    measured = results["shapes"][shape]
    found = measured["peers"].get(peer)
    return str(measured["missing"].get(peer, "-")) if found is None else f"{found['peak_megabytes']:,.0f}"


def _figures(value: float) -> str:
    """Three figures, or all before the point."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def _named(peer: str) -> str:
    return f"**`{peer}`**" if "ours" in peer else f"`{peer}`"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
