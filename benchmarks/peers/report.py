"""The results as tables for people and as data for the last line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .ceiling import Sizes, ceiling_milliseconds
from .limits import Ratio, ratios
from .registry import Peer
from .turns import Timing, Timings, Turns
from .workload import Shape

Agreement = Mapping[str, Mapping[str, Mapping[str, Any]]]  # shape, peer
Ceilings = Mapping[str, Mapping[str, float]]  # shape, fp32 or int8


def ceilings(shapes: Sequence[Shape], sizes: Sizes, rates: dict[str, float]) -> dict[str, dict[str, float]]:
    """Milliseconds that the products of each shape take at the measured rates."""
    return {shape.name: ceiling_milliseconds(sizes, shape.lengths, rates) for shape in shapes}


def print_times(turns: Turns, limits: Ceilings, peers: Mapping[str, Peer], rates: Mapping[str, float]) -> None:
    """One line a peer, one column a shape: median milliseconds and the share of the ceiling."""
    shapes = list(turns.timings)
    print("\nmedian milliseconds (share of the ceiling: linear layers and full attention at the measured rates,")
    print(f"fp32 {rates['fp32'] / 1e9:.0f} and int8 {rates['int8'] / 1e9:.0f} Gop/s; windows may exceed 100 %)")
    print(f"{'':<24}" + "".join(f"{shape:>18}" for shape in shapes))
    for name, peer in peers.items():
        cells = (_cell(turns.timings[shape].get(name), limits[shape], peer) for shape in shapes)
        print(f"{name:<24}" + "".join(f"{cell:>18}" for cell in cells))
    for kind in ("fp32", "int8"):
        print(f"{'ceiling ' + kind:<24}" + "".join(f"{limits[shape][kind]:>18}" for shape in shapes))


def print_missing(turns: Turns) -> None:
    """One line a peer and shape without a figure."""
    for shape, row in turns.missing.items():
        for name, reason in row.items():
            print(f"{shape:<8}{name:<24} {reason}")


def print_ratios(timings: Timings) -> list[Ratio]:
    """One line a shape: each ratio, its limit, and whether it is met."""
    found = [ratio for shape, row in timings.items() for ratio in ratios(shape, _medians(row))]
    if found:
        print("\nratios, each with the most that it may be")
    for shape in timings:
        cells = [_ratio_text(ratio) for ratio in found if ratio.shape == shape]
        if cells:
            print(f"{shape:<8}" + "".join(f"{cell:<46}" for cell in cells).rstrip())
    return found


def print_agreement(agreement: Agreement) -> bool:
    """One line a shape and peer; whether all that must agree do."""
    print("\nvectors that were timed: largest difference and smallest cosine")
    for shape, row in agreement.items():
        for name, verdict in row.items():
            mark = "" if verdict["agrees"] else "   DISAGREES"
            print(
                f"{shape:<8}{name:<24} from {verdict['against']:<10}"
                f"{verdict['difference']:>10.1e}{verdict['cosine']:>12.6f}{mark}"
            )
    return all(verdict["agrees"] for row in agreement.values() for verdict in row.values())


def to_json(turns: Turns, limits: Ceilings, agreement: Agreement, shapes: Sequence[Shape]) -> dict[str, dict[str, Any]]:
    """By shape: its size, the ceilings, and of every peer the median, all passes, memory and agreement."""
    return {
        shape.name: {
            "texts": len(shape.lengths),
            "tokens": sum(shape.lengths),
            "ceiling_milliseconds": limits[shape.name],
            "peers": {
                name: _timing_json(timing) | dict(agreement[shape.name].get(name, {}))
                for name, timing in turns.timings.get(shape.name, {}).items()
            },
            "missing": turns.missing.get(shape.name, {}),
        }
        for shape in shapes
    }


def _cell(timing: Timing | None, limits: Mapping[str, float], peer: Peer) -> str:
    if timing is None:
        return "-"
    share = limits["int8" if peer.int8 else "fp32"] / timing.median
    return f"{timing.median:.1f} ({share:.0%})"


def _ratio_text(ratio: Ratio) -> str:
    text = f"{ratio.ours}/{ratio.peer} {ratio.ratio:.2f}"
    if ratio.limit is None:
        return text
    return f"{text} of {ratio.limit:.2f} {'met' if ratio.met else 'MISSED'}"


def _medians(row: Mapping[str, Timing]) -> dict[str, float]:
    return {name: timing.median for name, timing in row.items()}


def _timing_json(timing: Timing) -> dict[str, Any]:
    return {
        "milliseconds": round(timing.median, 2),
        "first_pass": round(timing.first, 2),
        "passes": [round(value, 2) for value in timing.milliseconds],
        "peak_megabytes": timing.peak_megabytes,
    }
