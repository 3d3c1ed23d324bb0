"""One page of pictures of a record: latency by length, memory by length, throughput by batch size. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinabert_onnx.errors import MissingDependencyError

from .plan import Cell, Configuration
from .record import CellTimes, Memory, Record
from .statistics import CONFIDENCE, Estimate
from .table import headline

_COLORS = ("#1f5fa8", "#c8511b", "#2a8a57", "#8457a8", "#a8893a", "#6b6b6b")  # told apart in grey and by most eyes
_MARKERS = "os^Dvx"
_STYLES = ("-", "--", ":", "-.", (0, (1, 4)), (0, (6, 2, 1, 2, 1, 2)))
_GREY = "#666666"


@dataclass(frozen=True)
class _Look:
    color: str
    marker: str


def require_matplotlib() -> None:
    """Return if matplotlib is installed.

    Raises:
        MissingDependencyError: it is not.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"pictures need matplotlib ({error}); install it: pip install 'jinabert-onnx[plots]', or give --no-plots"
        ) from error


def draw(record: Record, file: Path) -> None:
    """Write the page to `file`, PNG or SVG by the ending of its name.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {"svg.hashsalt": "bench", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    style["text.parse_math"] = False  # a model's name may hold dollars
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(15, 5.6), layout="constrained")
        FigureCanvasAgg(figure)
        _fill(figure, record)
        metadata = {"Date": None} if file.suffix == ".svg" else None  # the same file of the same record
        figure.savefig(file, dpi=120, metadata=metadata)


def _fill(figure: Any, record: Record) -> None:
    title, machine, releases = headline(record)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    figure.supxlabel(f"{machine}\n{releases}, {record.created}", x=0.01, ha="left", fontsize=8, color=_GREY)
    latency, memory, throughput = figure.subplots(1, 3)
    looks = _looks(record)
    _latency(latency, record, looks)
    _memory(memory, record.memory, looks)
    _throughput(throughput, record, looks)


def _looks(record: Record) -> dict[Configuration, _Look]:
    """The same colour and marker for a configuration in every panel."""
    configurations = dict.fromkeys(found.cell.configuration for found in record.cells)
    return {
        configuration: _Look(_COLORS[index % len(_COLORS)], _MARKERS[index // len(_COLORS) % len(_MARKERS)])
        for index, configuration in enumerate(configurations)
    }


def _latency(axis: Any, record: Record, looks: Mapping[Configuration, _Look]) -> None:
    """One text a call, by its length; where no such call was measured, the smallest batch."""
    cells = [found for found in record.cells if found.cell.length is not None]
    smallest = min((found.cell.batch_size for found in cells), default=1)
    for configuration, look in looks.items():
        found = _chosen([one for one in cells if one.cell.batch_size == smallest], configuration)
        lengths = [one.cell.length for one in found]
        times = [_milliseconds(one.pass_time) for one in found]
        axis.plot(lengths, [time[0] for time in times], marker=look.marker, color=look.color, label=str(configuration))
        low, high = [time[1] for time in times], [time[2] for time in times]
        axis.fill_between(lengths, low, high, color=look.color, alpha=0.2, linewidth=0)
        if configuration.provider == "cpu":
            rates = record.rates(configuration.threads)
            least = [one.least_seconds(record.model.sizes, rates) * 1000 for one in found]
            axis.plot(lengths, least, ":", color=look.color, linewidth=1)
    explanation = f"shaded: {CONFIDENCE:.0%} interval; dotted: the machine's ceiling"
    what = "one text" if smallest == 1 else f"{smallest} texts"
    if _finish(axis, f"Latency of {what}, p50 ms", explanation, "tokens a text", [one.cell.length for one in cells]):
        _name_steps(axis)
        axis.legend(fontsize=8, frameon=False)


def _memory(axis: Any, figures: Sequence[Memory], looks: Mapping[Configuration, _Look]) -> None:
    """Peak of a process, and what it holds afterwards."""
    for configuration, look in looks.items():
        rows = [row for row in figures if row.configuration == configuration]
        if not rows:
            continue
        rows.sort(key=lambda row: row.length)
        lengths = [row.length for row in rows]
        name = str(configuration)
        axis.plot(lengths, [row.peak / 1e6 for row in rows], marker=look.marker, color=look.color, label=name)
        after = [(row.length, row.afterwards / 1e6) for row in rows if row.afterwards is not None]
        axis.plot([length for length, _ in after], [held for _, held in after], "--", color=look.color, linewidth=1)
    explanation = "line: peak; dashed: resident afterwards"
    if _finish(axis, "Memory of a process, MB", explanation, "tokens of its text", [row.length for row in figures]):
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8, frameon=False)


def _throughput(axis: Any, record: Record, looks: Mapping[Configuration, _Look]) -> None:
    """Tokens a second by texts a call: a colour a configuration, a style a length; of workloads without lengths."""
    sizes: dict[int | str, set[int]] = {}
    for one in record.cells:
        sizes.setdefault(_kind(one.cell), set()).add(one.cell.batch_size)
    drawn: list[int | str] = [kind for kind in sizes if isinstance(kind, int)]
    drawn = drawn or list(sizes)
    kinds = [kind for kind in drawn if len(sizes[kind]) > 1] or drawn
    styles = {kind: _STYLES[index % len(_STYLES)] for index, kind in enumerate(kinds)}
    for configuration, look in looks.items():
        for kind, style in styles.items():
            found = _chosen([one for one in record.cells if _kind(one.cell) == kind], configuration)
            rates = [one.tokens / one.pass_time.value for one in found]
            batches = [one.cell.batch_size for one in found]
            axis.plot(batches, rates, linestyle=style, marker=look.marker, color=look.color)
    ticks = [size for kind in kinds for size in sizes[kind]]
    if _finish(axis, "Throughput, tokens/s", "colours as on the left", "texts a call", ticks):
        axis.set_ylim(bottom=0)
        for kind, style in styles.items():
            name = f"{kind} tokens a text" if isinstance(kind, int) else kind
            axis.plot([], [], linestyle=style, color=_GREY, label=name)
        axis.legend(fontsize=8, frameon=False)


def _chosen(cells: Sequence[CellTimes], configuration: Configuration) -> list[CellTimes]:
    """Cells of a configuration, in the order of a line."""
    found = [one for one in cells if one.cell.configuration == configuration]
    return sorted(found, key=lambda one: (one.cell.length or 0, one.cell.batch_size))


def _kind(cell: Cell) -> int | str:
    return cell.length or cell.workload or ""


def _milliseconds(time: Estimate) -> tuple[float, float, float]:
    """A figure and the ends of its interval, or itself where there is none."""
    low, high = (time.interval.low, time.interval.high) if time.interval else (time.value, time.value)
    return time.value * 1000, low * 1000, high * 1000


def _finish(axis: Any, title: str, explanation: str, below: str, values: Sequence[int | None]) -> bool:
    """Title and axes of a panel, of which `values` are on the lower; False if it has none."""
    axis.set_title(title, loc="left", fontsize=10, pad=18)
    if not values:
        axis.text(0.5, 0.5, "not measured", ha="center", color=_GREY, transform=axis.transAxes)
        axis.set_xticks([])
        axis.set_yticks([])
        return False
    place = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
    axis.annotate(explanation, (0, 1), (0, 5), fontsize=8, color=_GREY, **place)
    axis.set_xlabel(below)
    axis.grid(color="#dddddd", linewidth=0.6)
    ticks = sorted({value for value in values if value is not None})
    axis.set_xscale("log", base=2)
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    return True


def _name_steps(axis: Any) -> None:
    """A logarithmic axis with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
