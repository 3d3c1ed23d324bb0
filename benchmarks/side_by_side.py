"""JinaBERT here beside other runtimes: times, ratios and their limits, the physical ceiling, and the vectors timed.

    python benchmarks/side_by_side.py CHECKPOINT BUNDLE --work build/side-by-side [--peers ...] [--shapes ...]

One process a peer, each in its own environment, asked one at a time and in turns, with a rest in between; medians.
What peers need (the plain export, its int8 form) is made once, in the work directory; delete it when the
checkpoint changes. The shape 1x8192 runs with one process alive, and the plain export needs 23 GB for it:
leave it out with `--skip plain:1x8192`. Exit code 1 if a float32 peer's vectors are not torch's, or a peer died.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from peers.agreement import compare, vectors_file
from peers.ceiling import Sizes
from peers.registry import Peer, environment, peers, prepare
from peers.report import ceilings, print_agreement, print_ratios, print_times, to_json
from peers.turns import Timings, Turns
from peers.workload import SHAPES, Shape, write_inputs
from timing import finish


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=_place)
    parser.add_argument("bundle", type=_place, help="exported from the checkpoint, fp32 and int8")
    parser.add_argument("--work", type=_place, required=True, help="directory for what peers need and leave")
    parser.add_argument("--threads", type=int, default=2, help="of every peer (default: %(default)s)")
    names = [shape.name for shape in SHAPES]
    parser.add_argument("--shapes", nargs="+", choices=names, default=names, metavar="SHAPE", help=" ".join(names))
    known = list(peers(Path(), Path(), Path(), 1))
    parser.add_argument("--peers", nargs="+", choices=known, default=known, metavar="PEER", help=" ".join(known))
    parser.add_argument("--repeats", type=float, default=1, help="multiplies turns and passes (default: %(default)s)")
    parser.add_argument("--skip", nargs="+", default=[], metavar="PEER:SHAPE", help="pairs to leave out")
    return parser.parse_args(argv)


def rates_of(threads: int) -> dict[str, float]:
    """The machine's rates of matrix products, measured in a process of its own."""
    command = [sys.executable, "-m", "peers.ceiling", str(threads)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment())
    rates: dict[str, float] = json.loads(answer.stdout)
    return rates


def measure(arguments: argparse.Namespace, chosen: dict[str, Peer], shapes: list[Shape], vocabulary: int) -> Turns:
    """Make what is missing, and run every chosen peer on every chosen shape."""
    work = arguments.work
    (work / "vectors").mkdir(parents=True, exist_ok=True)
    prepare(chosen, arguments.checkpoint, work, vocabulary)
    write_inputs(work, shapes, vocabulary)
    skip = frozenset((peer, shape) for peer, _, shape in (pair.partition(":") for pair in arguments.skip))
    turns = Turns(work, skip, arguments.repeats)
    turns.run(chosen, shapes)
    return turns


def compare_all(work: Path, timings: Timings, chosen: dict[str, Peer]) -> dict[str, dict[str, dict[str, object]]]:
    """What the vectors of each shape and peer are like, in every form that was timed."""
    return {
        shape: compare(
            {name: [vectors_file(work, name, shape, form) for form in row[name].milliseconds] for name in row}, chosen
        )
        for shape, row in timings.items()
    }


def main() -> int:
    """Measure, print the tables, and say with the exit code whether the vectors can be trusted."""
    arguments = arguments_of()
    known = peers(arguments.checkpoint, arguments.bundle, arguments.work, arguments.threads)
    chosen = {name: peer for name, peer in known.items() if name in arguments.peers}
    shapes = [shape for shape in SHAPES if shape.name in arguments.shapes]
    sizes = Sizes.read(arguments.checkpoint / "config.json")
    before = rates_of(arguments.threads)
    turns = measure(arguments, chosen, shapes, sizes.vocabulary)
    rates = {kind: max(before[kind], rate) for kind, rate in rates_of(arguments.threads).items()}
    agreement = compare_all(arguments.work, turns.timings, chosen)
    limits = ceilings(shapes, sizes, rates)
    print_times(turns.timings, limits, chosen, rates)
    ratios = print_ratios(turns.timings)
    agrees = print_agreement(agreement)
    for failure in turns.failures:
        print(f"FAILED: {failure}")
    results = {
        "threads": arguments.threads,
        "operations_a_second": rates,
        "peers": turns.about,
        "shapes": to_json(turns.timings, limits, agreement),
        "ratios": [ratio.to_json() for ratio in ratios],
        "vectors_agree": agrees,
        "failures": turns.failures,
    }
    finish("side_by_side", results)
    return 0 if agrees and not turns.failures else 1


def _place(text: str) -> Path:
    return Path(text).resolve()


if __name__ == "__main__":
    sys.exit(main())
