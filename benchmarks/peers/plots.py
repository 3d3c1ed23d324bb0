"""A sheet as one picture: the times of both tables as multiples of ours. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .sheet import BASES, Sheet
from .workload import Takes

OURS, THEIRS = "#c0392b", "#5d6d7e"
_MULTIPLES = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
_TITLES: tuple[tuple[Takes, str], ...] = (("ids", "token ids to token embeddings"), ("texts", "texts to vectors"))


def draw(sheet: Sheet, picture: Path) -> None:
    """Write `picture` and the same as SVG beside it."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "peers"  # the same file from the same figures
    from matplotlib import pyplot

    rows = [max(6, len(sheet.peers(takes))) for takes, _ in _TITLES]
    size = (9, 3 + 0.4 * sum(rows))
    figure, axes = pyplot.subplots(2, 1, figsize=size, gridspec_kw={"height_ratios": rows}, layout="constrained")
    for axis, (takes, title) in zip(axes, _TITLES, strict=True):
        _draw_multiples(axis, sheet, takes, f"Multiple of the time of ours, fp32: {title}")
    for file in (picture, picture.with_suffix(".svg")):
        figure.savefig(file, dpi=110, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)


def _draw_multiples(axis: Any, sheet: Sheet, takes: Takes, title: str) -> None:
    """Draw a row a peer, a dot a shape."""
    from matplotlib import colormaps
    from matplotlib.ticker import NullFormatter

    peers, shapes = sheet.peers(takes), sheet.shapes(takes)
    if not shapes or not sheet.row(BASES[takes]):
        axis.set_visible(False)
        return
    for number, shape in enumerate(shapes):
        offset = 0.5 * (number / max(1, len(shapes) - 1) - 0.5)  # dots of equal times must not hide each other
        cells = [(sheet.row(peer).get(shape), place) for place, peer in enumerate(peers)]
        points = [(cell.multiple, place + offset) for cell, place in cells if cell and cell.multiple is not None]
        color = colormaps["viridis"](number / max(1, len(shapes)))
        axis.scatter([x for x, _ in points], [y for _, y in points], s=26, color=color, label=shape, zorder=3)
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    axis.set_xticks([x for x in _MULTIPLES if low <= x <= high], [f"{x:g}" for x in _MULTIPLES if low <= x <= high])
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.axvline(1, color=OURS, linewidth=1)
    axis.grid(axis="x", color="#dddddd")
    for place in range(1, len(peers)):
        axis.axhline(place - 0.5, color="#eeeeee", linewidth=0.8)
    axis.set_title(title, fontsize=11, loc="left")
    axis.set_xlabel("faster ←    → slower", fontsize=9)
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    _name_rows(axis, peers)


def _name_rows(axis: Any, peers: list[str]) -> None:
    axis.set_yticks(range(len(peers)), peers, fontsize=9)
    axis.set_ylim(len(peers) - 0.5, -0.5)
    for label, peer in zip(axis.get_yticklabels(), peers, strict=True):
        label.set_color(OURS if "ours" in peer else THEIRS)
