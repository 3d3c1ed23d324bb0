"""JinaBERT here beside what else people run: times, the machine's ceiling, memory, and the vectors timed.

    python benchmarks/side_by_side.py CHECKPOINT BUNDLE --work build/side-by-side [--only PEER ...] [--shapes ...]

One process a peer, each in its own environment (`make peers`), asked one at a time and in turns, with a rest in
between; medians. Those that take token ids run beside each other, then those that take texts. What peers need (the
plain export, its int8 forms) is made once, in the work directory; delete it when the checkpoint changes. A peer that
takes too long or too much memory for a shape is ended, which is its result. The tables are Markdown for RESULTS.md.
Exit code 1 if a float32 peer's vectors are not torch's, or a peer died.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinabert_onnx.bench.machine import result_line
from jinabert_onnx.bench.roofline import Ceiling, Rates, Sizes
from jinabert_onnx.bench.texts import TextMaker
from peers import tables
from peers.agreement import MismatchError
from peers.client import Limits
from peers.preparing import prepare
from peers.registry import Files, Peer, peers
from peers.results import disagreements, memory_megabytes, shapes_of, write
from peers.turns import Turns
from peers.workload import QUICK_SHAPES, SHAPES, write_inputs

MEMORY_SHARE = 0.9  # of the machine's, that one peer may take


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=_place)
    parser.add_argument("bundle", type=_place, help="exported from the checkpoint, fp32 and int8")
    parser.add_argument("--work", type=_place, required=True, help="directory for what peers need and leave")
    parser.add_argument("--threads", type=int, default=2, help="of every peer (default: %(default)s)")
    names = [shape.name for shape in SHAPES]
    parser.add_argument("--shapes", nargs="+", choices=names, default=names, metavar="SHAPE", help=" ".join(names))
    known = list(peers(Files(Path(), Path(), Path()), 1))
    parser.add_argument("--only", nargs="+", choices=known, default=known, metavar="PEER", help=" ".join(known))
    parser.add_argument("--skip", nargs="+", default=[], metavar="PEER[:SHAPE]", help="to leave out")
    parser.add_argument("--quick", action="store_true", help="small shapes and few turns: does everything run?")
    parser.add_argument("--seconds", type=float, default=50, help="that a peer may take at once (default: %(default)s)")
    most = round(MEMORY_SHARE * memory_megabytes())
    parser.add_argument("--megabytes", type=float, default=most, help="that a peer may hold (default: %(default)s)")
    parser.add_argument("--results", type=_place, metavar="FILE", help="keep this run as JSON")
    return parser.parse_args(argv)


def measure(arguments: argparse.Namespace, chosen: Mapping[str, Peer], sizes: Sizes) -> dict[str, Any]:
    """Run every chosen peer on every chosen shape, and give all of it as data.

    Raises:
        MismatchError: a peer runs another model.
    """
    shapes = list(QUICK_SHAPES) if arguments.quick else [shape for shape in SHAPES if shape.name in arguments.shapes]
    write_inputs(arguments.work, shapes, TextMaker(arguments.checkpoint))
    limits = Limits(arguments.seconds, arguments.megabytes)
    turns = Turns(arguments.work, limits, frozenset(arguments.skip))
    ceiling = Ceiling(arguments.threads)
    before = ceiling.measure(first=True)
    turns.run(chosen, shapes)
    after = ceiling.measure()
    rates = Rates(max(before.fp32, after.fp32), max(before.int8, after.int8))
    measured = shapes_of(turns, chosen, shapes, sizes, rates)
    return {
        "threads": arguments.threads,
        "limits": asdict(limits),
        "operations_a_second": asdict(rates),
        "peers": {name: peer.describe() | turns.about.get(name, {}) for name, peer in chosen.items()},
        "shapes": measured,
        "vectors_agree": not disagreements(measured),
        "failures": turns.failures,
    }


def main() -> int:
    """Measure, and say with the exit code whether the vectors can be trusted."""
    arguments = arguments_of()
    files = Files(arguments.checkpoint, arguments.bundle, arguments.work)
    config = json.loads((files.checkpoint / "config.json").read_text("utf-8"))
    sizes = Sizes(config["hidden_size"], config["num_hidden_layers"], config["intermediate_size"])
    known = peers(files, arguments.threads)
    chosen = {name: known[name] for name in known if name in arguments.only and name not in arguments.skip}
    prepare(chosen, files, config["vocab_size"])
    try:
        results = measure(arguments, chosen, sizes)
    except MismatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(tables.render(results))
    for line in (*disagreements(results["shapes"]), *(f"FAILED: {failure}" for failure in results["failures"])):
        print(line)
    if arguments.results:
        write(arguments.results, results)
    print(result_line("side_by_side", results))
    return 0 if results["vectors_agree"] and not results["failures"] else 1


def _place(text: str) -> Path:
    return Path(text).resolve()


if __name__ == "__main__":
    sys.exit(main())
