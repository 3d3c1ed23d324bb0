"""A record's results as one sheet of figures: by peer and shape. Knows no Markdown and no pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .workload import QUICK_SHAPES, SHAPES, Takes

BASES: Mapping[Takes, str] = {"ids": "ours-fp32", "texts": "ours-fp32-texts"}  # what times are told as multiples of
_KNOWN = {shape.name: shape for shape in (*SHAPES, *QUICK_SHAPES)}


@dataclass(frozen=True)
class Cell:
    """One peer on one shape.

    Attributes:
        milliseconds: the median pass.
        passes: how many were timed.
        multiple: of the time that ours took in float32; None where it did not run.
        share: of the machine's ceiling that is reached, 1 for all of it.
        peak_megabytes: of its process since the start, so of this shape and those before it.
        difference: the largest of any value from the reference's vectors.
        cosine: the smallest of any text with the reference's vector; both None if there was no reference.
    """

    milliseconds: float
    passes: int
    multiple: float | None
    share: float
    peak_megabytes: float
    difference: float | None
    cosine: float | None


@dataclass(frozen=True)
class Sheet:
    """All cells by peer and shape.

    Attributes:
        missing: by peer and shape, why there is no cell, in a few words.
        about: what each peer tells of itself, in the order they were run.
        ceilings: by what peers take and shape, the least milliseconds of `fp32` and `int8`.
        tokens: by shape, in the order of the workload.
    """

    cells: Mapping[tuple[str, str], Cell]
    missing: Mapping[tuple[str, str], str]
    about: Mapping[str, Mapping[str, Any]]
    ceilings: Mapping[tuple[Takes, str], Mapping[str, float]]
    tokens: Mapping[str, int]

    def peers(self, takes: Takes) -> list[str]:
        """Return the peers of one table."""
        return [name for name, about in self.about.items() if about["takes"] == takes]

    def shapes(self, takes: Takes) -> list[str]:
        """Return every shape that a peer of this table ran."""
        return [shape for shape in self.tokens if any((peer, shape) in self.cells for peer in self.peers(takes))]

    def row(self, peer: str) -> dict[str, Cell]:
        """Return a peer's cells by shape."""
        return {shape: self.cells[peer, shape] for shape in self.tokens if (peer, shape) in self.cells}

    def memory_shapes(self, takes: Takes) -> list[str]:
        """Return where memory can be compared: after the last of the shared shapes, and in those that run alone."""
        shapes = self.shapes(takes)
        shared = [shape for shape in shapes if not _KNOWN[shape].alone]
        return shared[-1:] + [shape for shape in shapes if _KNOWN[shape].alone]


def read(results: Mapping[str, Any]) -> Sheet:
    """Return the sheet of a record's results."""
    shapes, about = results["shapes"], results["peers"]
    ran = [(name, shape) for shape in shapes for name in shapes[shape]["peers"]]
    return Sheet(
        cells={(name, shape): _cell(shapes[shape], name, about[name]) for name, shape in ran},
        missing={(name, shape): reason for shape in shapes for name, reason in shapes[shape]["missing"].items()},
        about=about,
        ceilings={(takes, shape): shapes[shape]["ceiling_milliseconds"] for takes in BASES for shape in shapes},
        tokens={shape: measured["tokens"] for shape, measured in shapes.items()},
    )


def join(ids: Sheet, texts: Sheet) -> Sheet:
    """Return one sheet with the peers that take ids of the one and those that take texts of the other."""
    parts: tuple[tuple[Sheet, Takes], ...] = ((ids, "ids"), (texts, "texts"))
    return Sheet(
        cells={key: cell for part, takes in parts for key, cell in part.cells.items() if key[0] in part.peers(takes)},
        missing={key: why for part, takes in parts for key, why in part.missing.items() if key[0] in part.peers(takes)},
        about={name: part.about[name] for part, takes in parts for name in part.peers(takes)},
        ceilings={key: least for part, takes in parts for key, least in part.ceilings.items() if key[0] == takes},
        tokens={**texts.tokens, **ids.tokens},
    )


def most_different(cells: Sequence[Cell]) -> tuple[float, float] | None:
    """Return the largest difference and the smallest cosine; None if nothing was compared."""
    differences = [cell.difference for cell in cells if cell.difference is not None]
    cosines = [cell.cosine for cell in cells if cell.cosine is not None]
    return (max(differences), min(cosines)) if differences and cosines else None


def _cell(measured: Mapping[str, Any], name: str, about: Mapping[str, Any]) -> Cell:
    found, base = measured["peers"][name], measured["peers"].get(BASES[about["takes"]])
    milliseconds = found["milliseconds"]
    return Cell(
        milliseconds=milliseconds,
        passes=len(found["passes"]),
        multiple=milliseconds / base["milliseconds"] if base else None,
        share=measured["ceiling_milliseconds"]["int8" if about["int8"] else "fp32"] / milliseconds,
        peak_megabytes=found["peak_megabytes"],
        difference=found.get("difference"),
        cosine=found.get("cosine"),
    )
