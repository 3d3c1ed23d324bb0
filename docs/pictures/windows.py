"""Draw how windows of attention are certified, from the trained checkpoint's own queries and keys on a real text.

    .venv/bin/python docs/pictures/windows.py

writes docs/pictures/windows.svg. The bound is that of `jinabert_onnx_export.operators.windowed_attention`, in numpy;
what is drawn beside it, the weight that keys really have, is computed in full. Knows nothing of graphs.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from jinabert_onnx.text.tokenizer import Tokenizer
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder.alibi import alibi_slopes
from jinabert_onnx_export.operators.key_ranges import ALLOWED, EPSILON, MARGIN
from jinabert_onnx_export.operators.windowed_attention import QUERY_BLOCK
from matplotlib.axes import Axes
from numpy.typing import NDArray

matplotlib.use("svg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT / "tests/data/tiny-de-en"
OUTPUT = Path(__file__).with_name("windows.svg")
TOKENS = 4096
LAYER = 1
HEAD = 3  # the one of the upper picture
MAPS = (1, 3, 5, 7)  # those of the lower ones, from steep to flat
KEY_BLOCK = QUERY_BLOCK // 2
BLOCK = 14  # of queries, in the upper picture
READ, LEFT, TRUE = "#00897b", "#cfd8dc", "#d84315"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """One head on one text: scaled queries and keys (tokens, head size), and its slope."""

    queries: Floats
    keys: Floats
    slope: float


@dataclass(frozen=True)
class Certificate:
    """Of each block of queries (rows) and keys (columns): bound and true share of a row's weight, and what is read."""

    bound: Floats
    share: Floats
    read: NDArray[np.bool_]


def heads_of(layer: int) -> list[Head]:
    """What the heads of `layer` compare, on the longest held-out text."""
    longest = max(json.loads((CHECKPOINT / "heldout.json").read_text("utf-8"))["long"], key=len)
    ids = Tokenizer(CHECKPOINT / "tokenizer.json")([longest], TOKENS).input_ids[0]
    if len(ids) < TOKENS:
        raise ValueError(f"the text has {len(ids)} tokens, fewer than the {TOKENS} to draw")
    encoder = open_checkpoint(str(CHECKPOINT), None).load_encoder()
    seen: dict[str, Floats] = {}
    attention = encoder.encoder.layer[layer].attention.self
    for name in ("query", "key"):
        getattr(attention, name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: output[0].double().numpy()})
        )
    with torch.inference_mode():
        tokens = torch.as_tensor(np.asarray(ids))[None]
        encoder(tokens, torch.ones_like(tokens))
    slopes = alibi_slopes(encoder.encoder.layer[layer].attention.self.slopes.__len__())
    size = seen["query"].shape[1] // len(slopes)
    return [
        Head(seen["query"][:, part] / math.sqrt(size), seen["key"][:, part], slope)
        for slope, part in ((slope, slice(place * size, (place + 1) * size)) for place, slope in enumerate(slopes))
    ]


def certify(head: Head) -> Certificate:
    """The windows of one head, and the shares of weight that they are chosen by."""
    keys = head.keys.reshape(-1, KEY_BLOCK, head.keys.shape[1])  # (J, block, d)
    centres = keys.mean(axis=1)
    radii = np.linalg.norm(keys - centres[:, None], axis=2).max(axis=1)
    radii += MARGIN * (radii + np.linalg.norm(centres, axis=1)).max()
    begins = np.arange(len(keys)) * KEY_BLOCK
    middles, extent = begins + (KEY_BLOCK - 1) / 2, (KEY_BLOCK - 1) / 2
    sides = min(float(KEY_BLOCK), 2 / (1 - math.exp(-head.slope)))
    bounds, shares = [], []
    for first in range(0, len(head.queries), QUERY_BLOCK):
        rows = np.arange(first, first + QUERY_BLOCK)
        queries = head.queries[rows]
        gaps = np.maximum(np.abs(rows[:, None] - middles) - extent, 0)  # (L, J)
        reach = np.abs(middles - rows.mean()) + extent + (QUERY_BLOCK - 1) / 2
        weights = KEY_BLOCK * np.exp(-head.slope * reach)
        typical = queries @ (weights @ centres / weights.sum()) + math.log(weights.sum())
        own = queries @ head.keys[rows].T - head.slope * np.abs(rows[:, None] - rows)
        own = np.log(np.exp(own - own.max(axis=1, keepdims=True)).sum(axis=1)) + own.max(axis=1)
        lower = np.maximum(own, typical)  # logarithm
        upper = queries @ centres.T + np.linalg.norm(queries, axis=1)[:, None] * radii - head.slope * gaps
        bounds.append(sides * np.exp(upper - lower[:, None]).max(axis=0))
        scores = queries @ head.keys.T - head.slope * np.abs(rows[:, None] - np.arange(len(head.keys)))
        scores -= scores.max(axis=1, keepdims=True)
        true = np.exp(scores).reshape(len(rows), len(keys), KEY_BLOCK).sum(axis=2)
        shares.append((true / true.sum(axis=1, keepdims=True)).max(axis=0))
    bound, share = np.array(bounds), np.array(shares)
    read = (np.cumsum(bound, axis=1) > ALLOWED) & (np.cumsum(bound[:, ::-1], axis=1)[:, ::-1] > ALLOWED)
    if (share > bound * (1 + 1e-9)).any():
        raise ArithmeticError("a block of keys weighs more than its bound")
    return Certificate(bound, share, read)


def draw_block(axes: Axes, head: Head, found: Certificate) -> None:
    """One block of queries: the bound of each block of keys, what it really weighs, and the window."""
    bound, share, read = found.bound[BLOCK], found.share[BLOCK], found.read[BLOCK]
    floor = 1e-20
    places = np.arange(len(bound)) * KEY_BLOCK
    width = KEY_BLOCK * 0.9
    colours = np.where(read, READ, LEFT)
    axes.bar(places, np.clip(bound, floor * 1.5, 1e3), width, align="edge", color=colours, bottom=0)
    axes.step([*places, TOKENS], [*np.clip(share, floor, 1), max(share[-1], floor)], where="post", color=TRUE, lw=1.6)
    axes.axhline(EPSILON, color="#333", lw=1, ls="--")
    axes.annotate("1e-7", (TOKENS, EPSILON), (5, 0), textcoords="offset points", va="center", color="#333")
    inside = np.flatnonzero(read)
    left, right = places[inside[0]], places[inside[-1]] + KEY_BLOCK
    axes.axvspan(left, right, color=READ, alpha=0.10, lw=0)
    axes.text((left + right) / 2, 1e4, f"read: {right - left} of {TOKENS} keys", ha="center", va="bottom", color=READ)
    axes.text(left / 2, 1e4, "left out", ha="center", va="bottom", color="#607d8b")
    axes.text((right + TOKENS) / 2, 1e4, "left out", ha="center", va="bottom", color="#607d8b")
    axes.set(yscale="log", ylim=(floor, 1e6), xlim=(0, TOKENS), xlabel="key (token of the text)")
    axes.set_ylabel("share of a row's weight")
    start = BLOCK * QUERY_BLOCK
    axes.set_title(
        f"What the queries {start} to {start + QUERY_BLOCK - 1} of one head can see", loc="left", fontweight="bold"
    )
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=READ),
        plt.Rectangle((0, 0), 1, 1, color=LEFT),
        plt.Line2D([], [], color=TRUE, lw=1.6),
    ]
    labels = ["bound, block is read", "bound, block is left out", "largest true share (never above the bound)"]
    axes.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False, fontsize=9)


def draw_map(axes: Axes, head: Head, found: Certificate, number: int) -> None:
    """Which keys each block of queries reads."""
    axes.imshow(
        found.read,
        extent=(0, TOKENS, TOKENS, 0),
        aspect="equal",
        cmap=matplotlib.colors.ListedColormap([LEFT, READ]),
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes.set_title(f"head {number + 1}, slope 1/{round(1 / head.slope)}\nreads {found.read.mean():.0%}", fontsize=10)
    axes.set(xticks=[0, TOKENS], yticks=[0, TOKENS], xlabel="key")


def main() -> None:
    """Compute and draw."""
    plt.rcParams.update(
        {"font.family": "DejaVu Sans", "font.size": 10, "svg.fonttype": "path", "svg.hashsalt": "windows"}
    )
    heads = heads_of(LAYER)
    figure = plt.figure(figsize=(9, 7), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    draw_block(above.subplots(), heads[HEAD], certify(heads[HEAD]))
    for place, (axes, number) in enumerate(zip(below.subplots(1, len(MAPS)), MAPS, strict=True)):
        draw_map(axes, heads[number], certify(heads[number]), number)
        if place == 0:
            axes.set_ylabel("query")
    below.suptitle("Which keys are read (green), by head", fontweight="bold", x=0.01, ha="left")
    figure.savefig(OUTPUT, metadata={"Date": None})
    print(f"wrote {OUTPUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
