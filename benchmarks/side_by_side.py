"""JinaBERT here beside what else people run: times, ratios and their limits, the ceiling, and the vectors timed.

    python benchmarks/side_by_side.py CHECKPOINT BUNDLE --work build/side-by-side [--only PEER ...] [--shapes ...]

One process a peer, each in its own environment (`make peers`), asked one at a time and in turns, with a rest in
between; medians. Those that take token ids run beside each other, then those that take texts. What peers need (the
plain export, its int8 forms, compiled code) is made once, in the work directory; `--prepare` makes it and stops. Delete
it when the checkpoint changes. A peer that takes too long or too much memory for a shape is ended, which is its result.
`--results FILE` keeps the run for `page.py`, which makes the results page of it.
Exit code 1 if a float32 peer's vectors are not torch's, or a peer died.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peers.agreement import MismatchError, compare
from peers.ceiling import Sizes
from peers.client import Limits
from peers.preparing import prepare
from peers.record import memory_megabytes, write
from peers.registry import Files, Peer, environment, peers
from peers.report import ceilings, print_agreement, print_missing, print_ratios, print_times, to_json
from peers.texts import Words
from peers.turns import Turns
from peers.workload import QUICK_SHAPES, SHAPES, write_inputs
from timing import finish

MEMORY_SHARE = 0.9  # of the machine's, that one peer may take


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
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
    parser.add_argument("--repeats", type=float, default=1, help="multiplies turns and passes (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=50, help="that a peer may take at once (default: %(default)s)")
    most = round(MEMORY_SHARE * memory_megabytes())
    parser.add_argument("--megabytes", type=float, default=most, help="that a peer may hold (default: %(default)s)")
    parser.add_argument("--prepare", action="store_true", help="make what peers need, and stop")
    parser.add_argument("--results", type=_place, metavar="FILE", help="keep this run for page.py")
    return parser.parse_args(argv)


def rates_of(threads: int) -> dict[str, float]:
    """The machine's rates of matrix products, measured in a process of its own."""
    command = [sys.executable, "-m", "peers.ceiling", str(threads)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment())
    rates: dict[str, float] = json.loads(answer.stdout)
    return rates


def told_of(peer: Peer) -> dict[str, object]:
    """What is known of a peer without asking it."""
    return {"setting": peer.setting, "takes": peer.takes, "int8": peer.int8}


def measure(arguments: argparse.Namespace, chosen: Mapping[str, Peer], sizes: Sizes) -> dict[str, Any]:
    """Run every chosen peer on every chosen shape, print the tables, and give all of it as data."""
    shapes = list(QUICK_SHAPES) if arguments.quick else [shape for shape in SHAPES if shape.name in arguments.shapes]
    write_inputs(arguments.work, shapes, Words(arguments.checkpoint / "tokenizer.json"))
    limits = Limits(arguments.seconds, arguments.megabytes)
    turns = Turns(arguments.work, limits, frozenset(arguments.skip), arguments.repeats)
    before = rates_of(arguments.threads)
    turns.run(chosen, shapes)
    rates = {kind: max(before[kind], rate) for kind, rate in rates_of(arguments.threads).items()}
    agreement = {shape: compare(arguments.work, shape, chosen, row) for shape, row in turns.timings.items()}
    least = ceilings(shapes, sizes, rates)
    print_times(turns, least, chosen, rates)
    print_missing(turns)
    ratios = print_ratios(turns.timings)
    agrees = print_agreement(agreement)
    return {
        "threads": arguments.threads,
        "limits": {"seconds": limits.seconds, "megabytes": limits.megabytes},
        "operations_a_second": rates,
        "peers": {name: told_of(peer) | turns.about.get(name, {}) for name, peer in chosen.items()},
        "shapes": to_json(turns, least, agreement, shapes),
        "ratios": [ratio.to_json() for ratio in ratios],
        "vectors_agree": agrees,
        "failures": turns.failures,
    }


def main() -> int:
    """Measure, and say with the exit code whether the vectors can be trusted."""
    arguments = arguments_of()
    files = Files(arguments.checkpoint, arguments.bundle, arguments.work)
    sizes = Sizes.read(files.checkpoint / "config.json")
    known = peers(files, arguments.threads, sizes.hidden)
    chosen = {name: known[name] for name in known if name in arguments.only and name not in arguments.skip}
    prepare(chosen, files, sizes.vocabulary)
    if arguments.prepare:
        return 0
    try:
        results = measure(arguments, chosen, sizes)
    except MismatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for failure in results["failures"]:
        print(f"FAILED: {failure}")
    if arguments.results:
        write(arguments.results, results)
    finish("side_by_side", results)
    return 0 if results["vectors_agree"] and not results["failures"] else 1


def _place(text: str) -> Path:
    return Path(text).resolve()


if __name__ == "__main__":
    sys.exit(main())
