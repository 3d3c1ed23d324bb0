"""A sheet as one picture of four panels: multiples of ours in both tables, time by length, memory. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .sheet import BASES, Sheet
from .workload import Takes

OURS, THEIRS = "#c0392b", "#5d6d7e"
_MULTIPLES = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
_TITLES: tuple[tuple[Takes, str], ...] = (("ids", "token ids to token embeddings"), ("texts", "texts to vectors"))
_FAMILIES = {"ours": "Reds", "torch": "Blues", "openvino": "Greens", "plain": "Greys", "optimum": "Purples"}


def draw(sheet: Sheet, picture: Path) -> None:
    """Write `picture` and the same as SVG beside it."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "peers"  # the same file from the same figures
    from matplotlib import pyplot

    rows = [max(6, len(sheet.peers(takes))) for takes, _ in _TITLES]
    size = (13, 3 + 0.4 * sum(rows))
    figure, axes = pyplot.subplots(2, 2, figsize=size, gridspec_kw={"height_ratios": rows}, layout="constrained")
    for (axis, _), (takes, title) in zip(axes, _TITLES, strict=True):
        _draw_multiples(axis, sheet, takes, f"Multiple of the time of ours, fp32: {title}")
    _draw_lengths(axes[0][1], sheet)
    _draw_memory(axes[1][1], sheet)
    for file in (picture, picture.with_suffix(".svg")):
        figure.savefig(file, dpi=110, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)


def _draw_multiples(axis: Any, sheet: Sheet, takes: Takes, title: str) -> None:
    """A row a peer, a dot a shape."""
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


def _draw_lengths(axis: Any, sheet: Sheet) -> None:
    """Time of one text by its length, a line a peer; dashed where linear layers are int8 or bfloat16."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    shapes = sheet.single_texts()
    if not shapes:
        axis.set_visible(False)
        return
    for peer in sheet.peers("ids"):
        cells = sheet.row(peer)
        ran = [shape for shape in shapes if shape in cells]
        style = "--" if sheet.about[peer]["int8"] or peer.endswith("bf16") else "-"
        width = 2.6 if peer.startswith("ours") else 1.3
        if not ran:
            continue
        x, y = [sheet.tokens[shape] for shape in ran], [cells[shape].milliseconds for shape in ran]
        axis.plot(x, y, style, marker="o", markersize=3, linewidth=width, color=_shade(peer, sheet), label=peer)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    tokens = [sheet.tokens[shape] for shape in shapes]
    axis.set_xticks(tokens, [str(number) for number in tokens])
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(color="#dddddd")
    axis.set_xlabel("tokens of one text", fontsize=9)
    axis.set_title("Milliseconds by length, from ids (dashed: int8, bf16)", fontsize=11, loc="left")
    axis.legend(fontsize=8)


def _draw_memory(axis: Any, sheet: Sheet) -> None:
    """A bar a peer and shape, where memory can be compared."""
    peers, shapes = sheet.peers("ids"), sheet.memory_shapes("ids")
    if not shapes:
        axis.set_visible(False)
        return
    for number, shape in enumerate(shapes):
        height = 0.8 / len(shapes)
        places = [place + height * (number - (len(shapes) - 1) / 2) for place in range(len(peers))]
        cells = [sheet.row(peer).get(shape) for peer in peers]
        values = [cell.peak_megabytes / 1000 if cell else 0.0 for cell in cells]
        told = [
            f"{cell.peak_megabytes / 1000:.1f}" if cell else sheet.missing.get((peer, shape), "")
            for peer, cell in zip(peers, cells, strict=True)
        ]
        shade = 0.45 if number < len(shapes) - 1 else 1.0
        colors = [_color(peer) for peer in peers]
        bars = axis.barh(places, values, height=height, color=colors, alpha=shade)
        axis.bar_label(bars, told, padding=3, fontsize=8)
    axis.margins(x=0.15)
    pale = f" (pale: {shapes[0]} and before)" if len(shapes) > 1 else ""
    axis.set_title(f"Peak memory, GB: {shapes[-1]}{pale}", fontsize=11, loc="left")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    _name_rows(axis, peers)


def _name_rows(axis: Any, peers: list[str]) -> None:
    axis.set_yticks(range(len(peers)), peers, fontsize=9)
    axis.set_ylim(len(peers) - 0.5, -0.5)
    for label, peer in zip(axis.get_yticklabels(), peers, strict=True):
        label.set_color(_color(peer))


def _color(peer: str) -> str:
    return OURS if "ours" in peer else THEIRS


def _shade(peer: str, sheet: Sheet) -> Any:
    """A colour of the peer's family, each of the family another."""
    from matplotlib import colormaps

    family = peer.split("-")[0]
    members = [name for name in sheet.about if name.split("-")[0] == family and sheet.about[name]["takes"] == "ids"]
    depth = 0.9 - 0.5 * members.index(peer) / max(1, len(members))
    return colormaps[_FAMILIES.get(family, "Oranges")](depth)
